// The address holds the whole state: filters, page and the open row. Every text of a row becomes a text node, never markup.
import { wordDiff } from "./diff.js";

const $ = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en");
const rounded = (n) => (typeof n === "number" ? String(Number(n.toPrecision(4))) : n); // what JSON has no number for is text
const WAIT_MS = 300;
const SLOW_MS = 500;
const CLASS_LENGTH = 40;
const HEAD = ["verdict", "reason", "split"];
const SHOWN_APART = new Set(["id", "messages", "prompt", "completion", "reasoning", "fields", "verdict", "reason", "split", "at"]);
let about = { kinds: {}, meanings: {} };
let page = { rows: [], more: false };
let running = new AbortController();
let opened = "";
let timer = 0;
let typing = false;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

async function ask(name, parameters = "", signal = undefined) {
  const answer = await fetch(`api/${name}?${parameters}`, { signal });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

const state = () => new URLSearchParams(location.search);

function withState(change) {
  const next = state();
  for (const [name, value] of Object.entries(change)) value ? next.set(name, value) : next.delete(name);
  return `?${next}`;
}

function go(address, replace = false) {
  replace ? history.replaceState(null, "", address) : history.pushState(null, "", address);
  return show();
}

function report(error) {
  if (error.name === "AbortError") return;
  const lost = error instanceof TypeError; // fetch says nothing else
  $("error").textContent = lost ? "The server does not answer: is `synth-ray view` still running?" : error.message;
  $("error").hidden = false;
  $("status").textContent = "";
}

// Rows --------------------------------------------------------------------------------------------------------------------------

const filters = (from) => {
  const asked = new URLSearchParams(from);
  for (const name of ["row", "at"]) asked.delete(name);
  return asked;
};

async function showRows() {
  const asked = filters(state());
  if (showRows.asked === asked.toString()) return;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.classList.add("busy");
  const slow = setTimeout(() => { if (!signal.aborted) $("status").textContent = "Looking through the rows…"; }, SLOW_MS);
  try {
    page = await ask("rows", asked, signal);
    clearTimeout(slow);
    showRows.asked = asked.toString();
    $("error").hidden = true;
    $("rows").replaceChildren(...page.rows.map(listed));
    $("rows").start = page.first + 1;
    showPager();
    await showCount(asked, signal);
  } catch (error) {
    if (error.name !== "AbortError") { page = { rows: [], more: false }; $("rows").replaceChildren(); showPager(); }
    report(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

async function showCount(asked, signal) {
  document.body.classList.remove("busy");
  const first = page.first + 1, last = page.first + page.rows.length;
  const known = !page.more && (page.rows.length > 0 || page.first === 0);
  const rows = page.rows.length ? `Rows ${number(first)} to ${number(last)}` : "No rows on this page";
  let total = last;
  if (!known) {
    $("status").textContent = `${rows} of …`;
    const counted = filters(asked);
    for (const name of ["page", "sort", "descending"]) counted.delete(name);
    total = (await ask("count", counted, signal)).rows;
  }
  $("status").textContent = total ? `${rows} of ${number(total)}` : "No row matches.";
  $("page").max = Math.max(1, Math.ceil(total / page.page_rows));
}

function showPager() {
  const at = Number(state().get("page") || 1);
  $("page").value = at;
  link($("previous"), at > 1 && withState({ page: at > 2 ? at - 1 : "", row: "", at: "" }));
  link($("next"), page.more && withState({ page: at + 1, row: "", at: "" }));
}

function link(anchor, address) {
  address ? anchor.setAttribute("href", address) : anchor.removeAttribute("href");
}

function tag(value, name) {
  return element("span", { class: `tag ${name === "verdict" ? value : ""}`, title: name }, String(value));
}

function classesOf(row) {
  const names = Object.keys(row).filter((name) => about.kinds[name] === "text" && !SHOWN_APART.has(name));
  return names.filter((n) => !["detail", "witness", "origin"].includes(n) && row[n] && row[n].length <= CLASS_LENGTH).slice(0, 4);
}

function listed(row) {
  const why = [row.detail, row.similarity === undefined ? "" : `similarity ${rounded(row.similarity)}`].filter(Boolean).join(" · ");
  const sort = state().get("sort");
  const value = sort && sort !== "similarity" && row[sort] !== undefined ? tag(`${sort} ${rounded(row[sort])}`, sort) : null;
  const side = element("span", { class: "side" }, ...HEAD.filter((name) => row[name]).map((name) => tag(row[name], name)),
    row.origin === "real" ? tag("real", "origin") : null, ...classesOf(row).map((name) => tag(row[name], name)), value);
  const texts = element("div", { class: "texts" }, element("p", { class: "asked" }, ...marked(row.prompt)),
    element("p", {}, ...(row.completion ? marked(row.completion) : [element("span", { class: "dim" }, "no completion")])),
    why ? element("p", { class: "why" }, why) : null);
  return element("li", {}, element("a", { href: withState({ row: row.id, at: row.at }) }, side, texts));
}

// The text, with every place marked where what is sought occurs.
function marked(text) {
  const sought = state().get("text");
  if (!sought) return [text];
  const pattern = new RegExp(sought.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    parts.push(text.slice(end, found.index), element("mark", {}, found[0]));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}

// One row -----------------------------------------------------------------------------------------------------------------------

async function showRow() {
  const id = state().get("row");
  const dialog = $("row");
  if (!id) { opened = ""; if (dialog.open) dialog.close(); return; }
  if (opened === id && dialog.open) return;
  opened = id;
  $("row-title").replaceChildren("Row ", element("code", {}, id));
  $("row-body").replaceChildren(element("p", { class: "dim" }, "Loading…"));
  const place = page.rows.findIndex((row) => row.id === id);
  $("row-previous").disabled = place < 1;
  $("row-next").disabled = place < 0 || place + 1 >= page.rows.length;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  $("row-title").focus();
  try {
    const row = await ask("row", new URLSearchParams({ row: id, at: state().get("at") || "" }));
    if (opened === id) await showWhole(row);
  } catch (error) {
    $("row-body").replaceChildren(element("p", { class: "warn", role: "alert" }, error.message));
  }
}

async function showWhole(row) {
  const witness = element("section"), staged = element("section");
  const columns = Object.entries(row).filter(([name, value]) => !SHOWN_APART.has(name) && value !== null && value !== "");
  const empty = Object.entries(row).filter(([name, value]) => !SHOWN_APART.has(name) && (value === null || value === "")).map(([n]) => n);
  $("row-body").replaceChildren(
    element("p", { class: "facts" }, ...HEAD.filter((name) => row[name]).map((name) => tag(row[name], name)), tag(row.origin, "origin")),
    row.reason && about.meanings[row.reason] ? element("p", {}, element("strong", {}, row.reason), `: ${about.meanings[row.reason]}`) : "",
    row.detail ? element("p", {}, `In this row: ${row.detail}.`) : "",
    witness, ...conversation(row), ...fields(row),
    element("h3", {}, "Columns"), list(columns),
    element("p", { class: "dim" }, empty.length ? `Empty: ${empty.join(", ")}.` : ""), staged);
  await Promise.all([showWitness(row, witness), showStaged(row, staged)]);
}

function conversation(row) {
  let turns = Array.isArray(row.messages) ? row.messages : [];
  if (!turns.length) turns = [{ role: "user", content: row.prompt }, { role: "assistant", content: row.completion }];
  // A model that was cut off while it thought gave no answer to show its thought with.
  if (row.reasoning && !turns.some((t) => t && t.reasoning)) turns = [...turns, { role: "assistant", content: "", reasoning: row.reasoning }];
  return [element("h3", {}, "Conversation"), element("ol", { class: "turns" }, ...turns.filter((t) => t && (t.content || t.reasoning)).map((turn) =>
    element("li", { class: turn.role === "assistant" ? "assistant" : "" }, element("div", { class: "role" }, turn.role || ""),
      ...thought(turn), element("div", { class: "body" }, ...marked(String(turn.content || ""))))))];
}

function thought(turn) {
  if (!turn.reasoning) return [];
  return [element("details", { class: "thought" }, element("summary", {}, "thought"),
    element("div", { class: "body" }, ...marked(String(turn.reasoning))))];
}

function fields(row) {
  let values = {};
  try { values = JSON.parse(row.fields || "{}"); } catch { values = { fields: row.fields }; }
  const entries = values && typeof values === "object" ? Object.entries(values) : [["fields", values]];
  return entries.length ? [element("h3", {}, "Fields that are no columns"), list(entries)] : [];
}

function list(entries) {
  return element("dl", {}, ...entries.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, readable(value))]));
}

// JSON text is laid out; anything else is shown as it is.
function readable(value) {
  if (typeof value !== "string") return value && typeof value === "object" ? JSON.stringify(value, null, 2) : String(value);
  if (!/^\s*[[{]/.test(value)) return value;
  try { return JSON.stringify(JSON.parse(value), null, 2); } catch { return value; }
}

async function showWitness(row, section) {
  if (!row.witness) return;
  const similar = row.similarity === null || row.similarity === undefined ? "" : ` · similarity ${rounded(row.similarity)}`;
  section.append(element("h3", {}, `The kept row that it was refused for${similar}`));
  try {
    const kept = await ask("row", new URLSearchParams({ row: row.witness }));
    const key = element("p", { class: "key" }, element("del", {}, "only in this row"), " · ", element("ins", {}, "only in the other"), " · ",
      element("a", { href: withState({ row: row.witness, at: "" }) }, "open the other row"), ` (${kept.verdict}, ${kept.split}, ${kept.origin})`);
    section.append(key, ...["prompt", "completion"].map((name) => compared(name, row[name] || "", kept[name] || "")));
  } catch (error) {
    section.append(element("p", { class: "dim" }, element("code", {}, row.witness), ": ", error.message));
  }
}

function compared(name, ours, theirs) {
  const [left, right] = wordDiff(ours, theirs);
  const side = (title, parts, changed) => element("div", {}, element("h4", {}, title),
    element("div", { class: "body" }, ...parts.map(([text, same]) => same ? text : element(changed, {}, text))));
  return element("div", { class: "pair" }, side(`${name} · this row`, left, "del"),
    side(`${name} · the other${ours === theirs ? ", the same" : ""}`, right, "ins"));
}

async function showStaged(row, section) {
  if (row.origin === "real") return;
  const staged = await ask("staged", new URLSearchParams({ row: row.id }));
  const pairs = (values) => (values || []).map((v) => Array.isArray(v) ? `${v[0]} × ${v[1]}` : v).join(", ") || "none";
  section.append(element("h3", {}, "What was found in it"));
  if (!("flags" in staged)) section.append(element("p", { class: "dim" }, "Not kept: its staged chunk was removed."));
  else section.append(list([["flags", pairs(staged.flags)], ["personal data", pairs(staged.pii)], ["request", staged.request],
    ["chunk, position, slot", [staged.chunk, staged.position, staged.slot].join(", ")]]));
}

function step(by) {
  const place = page.rows.findIndex((row) => row.id === opened);
  const row = place < 0 ? undefined : page.rows[place + by];
  if (row) go(withState({ row: row.id, at: row.at }), true);
}

// Filters -----------------------------------------------------------------------------------------------------------------------

function control(name, label, options) {
  const select = element("select", { name, id: `of-${name}` }, element("option", { value: "" }, "any"), ...options);
  return element("div", {}, element("label", { for: select.id }, label), select);
}

function showChoices({ choices, ranges }) {
  const order = ["verdict", "reason", "split"];
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : ["origin", "teacher", "revision", "recipe", "finish_reason"].includes(name) ? 9 : 5);
  const names = Object.keys(choices).sort((a, b) => rank(a) - rank(b));
  $("choices").replaceChildren(...names.map((name) => control(`is.${name}`, name.replaceAll("_", " "), choices[name].map(([value, rows]) =>
    element("option", { value: value === null ? "\u0000missing" : `=${value}` }, `${value === null ? "(none)" : value || "(empty)"} · ${number(rows)}`)))));
  const spread = Object.entries(ranges).filter(([, [low, high]]) => low < high);
  // As many digits as tell the two ends apart.
  const end = (value, [low, high]) => Number(value.toFixed(Math.min(20, Math.max(0, 2 - Math.floor(Math.log10(high - low))))));
  const bound = (name, side, placeholder) => element("input", { name: `${side}.${name}`, type: "number", step: "any", inputmode: "decimal",
    placeholder, "aria-label": `${name.replaceAll("_", " ")}, ${side === "min" ? "at least" : "at most"}` });
  $("numbers").replaceChildren($("numbers").firstElementChild, ...spread.map(([name, [low, high]]) => element("div", { class: "range" },
    element("span", {}, name.replaceAll("_", " ")), bound(name, "min", end(low, ranges[name])), bound(name, "max", end(high, ranges[name])))));
  $("numbers").hidden = !spread.length;
  $("sort").replaceChildren($("sort").firstElementChild, ...spread.map(([name]) => element("option", { value: name }, name.replaceAll("_", " "))));
}

function fillFilters() {
  const asked = state();
  $("falling").hidden = !asked.get("sort");
  const hidden = [...asked.keys()].filter((name) => !["text", "page", "row", "at", "sort", "descending"].includes(name)).length;
  $("more").firstElementChild.textContent = hidden ? `More filters, ${hidden} in use` : "More filters";
  for (const field of $("filters").elements) {
    if (!field.name || (timer && field === document.activeElement)) continue; // it is being typed in
    const column = field.name.replace(/^is\./, "");
    if (field.type === "checkbox") field.checked = asked.get(field.name) === "1";
    else if (!field.name.startsWith("is.")) field.value = asked.get(field.name) || "";
    else if (asked.getAll("missing").includes(column)) field.value = "\u0000missing";
    else field.value = asked.has(field.name) ? `=${asked.get(field.name)}` : "";
  }
}

function chosen() {
  const asked = new URLSearchParams();
  const names = new Set();
  for (const field of $("filters").elements) {
    if (!field.name) continue;
    names.add(field.name);
    if (field.type === "checkbox") { if (field.checked) asked.set(field.name, "1"); continue; }
    if (!field.value) continue;
    if (!field.name.startsWith("is.")) asked.set(field.name, field.value);
    else if (field.value === "\u0000missing") asked.append("missing", field.name.slice(3));
    else asked.set(field.name, field.value.slice(1));
  }
  for (const [name, value] of state()) { // what has no field here, as before the choices are there
    if (!names.has(name) && !["page", "row", "at", "missing"].includes(name)) asked.append(name, value);
    if (name === "missing" && !names.has(`is.${value}`)) asked.append(name, value);
  }
  return `?${asked}`;
}

// Events ------------------------------------------------------------------------------------------------------------------------

$("filters").addEventListener("input", (event) => {
  clearTimeout(timer);
  const typed = event.target.type === "search" || event.target.type === "number";
  timer = setTimeout(() => { timer = 0; go(chosen(), typed && typing); typing = typed; }, typed ? WAIT_MS : 0);
});
$("filters").addEventListener("focusout", () => { typing = false; });
$("filters").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); timer = 0; go(chosen()); });
$("page").addEventListener("change", () => go(withState({ page: Math.max(1, Math.floor(Number($("page").value)) || 1), row: "", at: "" })));
$("row-close").addEventListener("click", () => go(withState({ row: "", at: "" })));
$("row").addEventListener("cancel", (event) => { event.preventDefault(); go(withState({ row: "", at: "" })); });
$("row").addEventListener("click", (event) => { if (event.target === $("row")) go(withState({ row: "", at: "" })); });
$("row-previous").addEventListener("click", () => step(-1));
$("row-next").addEventListener("click", () => step(1));
document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[href^='?']");
  if (!anchor || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(anchor.getAttribute("href")).then(() => { if (["next", "previous"].includes(anchor.id)) scrollTo(0, 0); });
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("row").open) {
    if (event.key === "ArrowRight" || event.key === "j") step(1);
    if (event.key === "ArrowLeft" || event.key === "k") step(-1);
  } else if (event.key === "/") { event.preventDefault(); $("text").focus(); }
});
addEventListener("popstate", () => show());

async function show() {
  fillFilters();
  const back = opened;
  await showRows();
  await showRow();
  if (back && !opened) document.querySelector(`a[href*="row=${CSS.escape(back)}"]`)?.focus();
}

async function start() {
  $("more").open = matchMedia("(min-width: 48.001rem)").matches;
  try {
    about = await ask("about");
    const { rows } = about;
    const refused = Object.values(rows.rejected).reduce((a, b) => a + b, 0), failed = Object.values(rows.failed).reduce((a, b) => a + b, 0);
    document.title = `${about.name} · rows · synth_ray`;
    $("name").textContent = about.name;
    $("about").textContent = [`${number(about.in_all)} rows: ${number(rows.accepted)} accepted`, rows.real ? `${number(rows.real)} real` : "",
      `${number(refused)} rejected`, `${number(failed)} failed`].filter(Boolean).join(", ") + `. Read on this machine, sent nowhere.`;
    $("stopped").hidden = about.complete;
    $("stopped").textContent = `The run stopped before its end${about.stopped ? `: ${about.stopped}` : ""}.`;
    await show();
    showChoices(await ask("choices"));
    fillFilters();
  } catch (error) { report(error); }
}
start();
