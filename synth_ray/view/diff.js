// The words of two texts, as [text, whether the other has it here] for each: the longest common subsequence of words.
const MOST_CELLS = 4e6;

export function wordDiff(left, right) {
  const a = left.match(/\s+|[^\s]+/g) || [], b = right.match(/\s+|[^\s]+/g) || [];
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start += 1;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA -= 1; endB -= 1; }
  const [keptA, keptB] = common(a.slice(start, endA), b.slice(start, endB));
  return [pieces(a, start, endA, keptA), pieces(b, start, endB, keptB)];
}

// Which words of each are common, by position. Of very long texts none are: the whole middle counts as different.
function common(a, b) {
  const keptA = new Set(), keptB = new Set(), width = b.length + 1;
  if (a.length * b.length > MOST_CELLS) return [keptA, keptB];
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { keptA.add(i); keptB.add(j); i += 1; j += 1; }
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [keptA, keptB];
}

function pieces(words, start, end, kept) {
  const found = [];
  words.forEach((word, n) => {
    const same = n < start || n >= end || kept.has(n - start);
    if (found.length && found.at(-1)[1] === same) found.at(-1)[0] += word;
    else found.push([word, same]);
  });
  return found;
}
