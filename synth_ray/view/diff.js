// The words of two texts, as [text, whether the other has it here] for each: the longest common subsequence of words.
const MOST_CELLS = 4e6;
// Spaces, a character of a script that writes none, a word, or one character of anything else.
const NO_SPACES = "\\p{sc=Han}\\p{sc=Hira}\\p{sc=Kana}\\p{sc=Thai}";
const WORDS = new RegExp(`\\s+|[${NO_SPACES}]|(?:(?![${NO_SPACES}])[\\p{L}\\p{M}\\p{N}_])+|[^]`, "gu");

export function wordDiff(left, right) {
  const a = left.match(WORDS) || [], b = right.match(WORDS) || [];
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
  const isKept = (n) => n < start || n >= end || kept.has(n - start);
  words.forEach((word, n) => {
    const same = isKept(n) && !(!word.trim() && n > 0 && n + 1 < words.length && !isKept(n - 1) && !isKept(n + 1)); // a space within
    if (found.length && found.at(-1)[1] === same) found.at(-1)[0] += word;
    else found.push([word, same]);
  });
  return found;
}
