"use strict";
// The page of `salcr serve`. Texts are put into the page as texts, never as HTML.

const $ = (id) => document.getElementById(id);
let index; // what /api/index says
const results = []; // of this visit; the browser's history holds their numbers
let current = null; // the one that is shown: { source, among, result }
let asked = 0; // number of the latest search, since an earlier one may be answered later

async function ask(path, options) {
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer. Is `salcr serve` still running?");
  });
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.detail ?? `Error ${response.status}`);
  return content;
}

function say(text, isError = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", isError);
  if (isError) $("message").scrollIntoView({ block: "nearest" });
}

/** Run something that may fail, and show why it did. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A name as one line that shows what is in it, as salcr's messages show names. */
const shownName = (name) =>
  name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (sign) =>
    "\u200c\u200d".includes(sign) ? sign : `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`);

/** The path of a picture below the folder that was embedded. */
function nameOf(path) {
  const folder = index.folders.find((one) => path.startsWith(`${one}/`));
  return shownName(folder === undefined ? path : path.slice(folder.length + 1));
}

/** A name that breaks where a person would break it. */
const broken = (name) =>
  name.split(/(?<=[/_])/).flatMap((part, number) => (number ? [element("wbr"), part] : [part]));

function image(address, alt) {
  const made = element("img", { src: address, alt, loading: "lazy" });
  made.addEventListener("error", async () => {
    let reason = "This browser cannot show this format.";
    if (!address.startsWith("blob:")) await ask(address).catch((error) => (reason = error.message));
    made.replaceWith(element("span", { className: "gone", title: reason },
      address.startsWith("blob:") ? "no preview" : reason.includes("changed") ? "changed" : "gone"));
  }, { once: true });
  return made;
}

/** A picture of the index that is searched for when it is clicked. */
function tile(picture, caption) {
  const name = nameOf(picture.path);
  const button = element("button", { type: "button", title: `Search for ${name}` },
    image(`/api/pictures/${picture.row}`, `${caption}: ${name}`),
    element("b", {}, caption), element("span", {}, ...broken(name)));
  button.addEventListener("click", () => attempt(() => search({ row: picture.row })));
  return element("li", {}, button);
}

const kindsOf = (among) => (among === "all" ? ["across", "within"] : ["across"]);

/** The smallest scores of hits, by kind; null if any will do. */
function limits(among) {
  const chosen = $("limit").value;
  if (chosen === "") return null;
  const of = chosen === "least" ? null : index.thresholds.find((one) => String(one.rate) === chosen);
  return Object.fromEntries(kindsOf(among).map((kind) => [kind, of ? of[kind] : Number($("least").value)]));
}

/** Offer the thresholds that there are for the pictures that are searched. */
function offerLimits() {
  const among = current?.among ?? $("among").value;
  for (const option of $("limit").options) {
    const of = index.thresholds.find((one) => String(one.rate) === option.value);
    option.disabled = of !== undefined && kindsOf(among).some((kind) => of[kind] === undefined);
    if (of !== undefined) option.title = option.disabled ? "too few pairs were compared" : "";
  }
  if ($("limit").selectedOptions[0].disabled) $("limit").value = "";
  $("least-label").hidden = $("limit").value !== "least";
  const rate = Number($("limit").value);
  $("meaning").textContent = "";
  if (rate > 0) {
    const pairs = Math.round(1 / rate).toLocaleString("en");
    let text = `One of ${pairs} pairs of different people reaches this score.`;
    if (current !== null) {
      const { modality } = current.result.queries[0];
      const searched = Object.entries(index.num_pictures)
        .reduce((sum, [one, count]) => sum + (among === "all" || one !== modality ? count : 0), 0);
      const strangers = searched * rate;
      text += ` Among ${searched.toLocaleString("en")} pictures of strangers, that is `
        + `${strangers < 1 ? "less than one" : `about ${Math.round(strangers).toLocaleString("en")}`}.`;
    }
    $("meaning").textContent = text;
  }
}

/** Search for a source: { file } or { row }. The result replaces the one that is shown, or follows it. */
async function search(source, isNew = true) {
  if (!$("form").reportValidity()) return;
  const among = $("among").value;
  const words = new URLSearchParams({ among, top: $("top").value });
  const number = ++asked;
  let request;
  if (source.file === undefined) {
    request = ask(`/api/pictures/${source.row}/hits?${words}`);
  } else {
    if (source.file.size > index.max_bytes) {
      throw new Error(`${shownName(source.file.name)}: has more than ${index.max_bytes >> 20} MB`);
    }
    words.set("name", source.file.name);
    words.set("modality", $("modality").value);
    request = ask(`/api/hits?${words}`, {
      method: "POST", body: source.file, headers: { "Content-Type": "application/octet-stream" },
    });
  }
  say("Searching …");
  const result = await request.catch((error) => {
    if (number === asked) throw error;
  });
  if (number !== asked) return;
  say("");
  if (isNew) results.length = (history.state ?? -1) + 1;
  const place = isNew ? results.length : history.state;
  results[place] = { source, among, result };
  history[isNew ? "pushState" : "replaceState"](place, "");
  show(results[place]);
  if (!isNew) return;
  if (matchMedia("(max-width: 46rem)").matches) $("content").scrollIntoView();
  else window.scrollTo({ top: 0 });
}

function show(entry) {
  current = entry;
  $("result").hidden = entry === null;
  if (entry !== null) {
    $("among").value = entry.among;
    offerLimits();
    showQuery(entry);
    showHits(entry);
  }
  $("modality").disabled = entry !== null && entry.source.file === undefined;
}

function showQuery({ source, result }) {
  const [query] = result.queries;
  const isSent = source.file !== undefined;
  const name = isSent ? shownName(query.path) : nameOf(query.path);
  if (isSent) source.address ??= URL.createObjectURL(source.file);
  const download = element("button", { type: "button", id: "download" }, "Download JSON");
  download.addEventListener("click", save);
  const back = element("button", { type: "button", id: "back" }, "‹ Back");
  back.addEventListener("click", () => history.back());
  $("query").replaceChildren(
    image(isSent ? source.address : `/api/pictures/${source.row}`, `query: ${name}`),
    element("div", {},
      element("h2", {}, ...broken(name)),
      element("p", {}, `${query.modality} query${query.guessed
        ? ", guessed from the channels: choose the modality if that is wrong" : ""}`),
      element("p", { id: "verdict" }),
      element("p", { className: "buttons" }, back, download)));
}

/** The hits that are large enough, and the others. */
function divide({ among, result }) {
  const [query] = result.queries;
  const scores = limits(among);
  const reaches = (hit) =>
    scores === null || hit.score >= scores[hit.modality === query.modality ? "within" : "across"];
  return { scores, kept: query.hits.filter(reaches), others: query.hits.filter((hit) => !reaches(hit)) };
}

function showHits(entry) {
  const { scores, kept, others } = divide(entry);
  const count = entry.result.queries[0].hits.length;
  const pictures = count === 1 ? "picture" : "pictures";
  $("verdict").textContent = scores === null ? `The ${count} nearest ${pictures}`
    : kept.length === 0 ? "No person reaches the threshold."
      : `${kept.length} of the ${count} nearest ${pictures} reach${kept.length === 1 ? "es" : ""} the threshold.`;
  $("verdict").classList.toggle("none", kept.length === 0);
  const made = (hit) => tile(hit, `${hit.rank}: ${hit.score.toFixed(4)}`);
  const items = kept.map(made);
  if (scores !== null) {
    const words = Object.entries(scores).map(([kind, score]) =>
      `${score.toFixed(4)}${entry.among === "all" ? ` ${kind} modalities` : ""}`);
    items.push(element("li", { className: "line" },
      `threshold ${[...new Set(words)].join(", ")}${others.length ? "" : ": all of these reach it"}`));
  }
  const below = others.map(made);
  for (const item of below) item.className = "below";
  $("hits").replaceChildren(...items, ...below);
}

/** Download what `salcr search --json` would write. */
function save() {
  const { scores, kept } = divide(current);
  const { queries: [query], ...rest } = current.result;
  const content = { ...rest, ...(scores && { min_score: scores }), queries: [{ ...query, hits: kept }] };
  const file = new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(file), download: "hits.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

let start = 0; // of the listed pictures
let listing = 0; // number of the latest list

async function list(from) {
  const words = new URLSearchParams({ text: $("text").value, modality: $("listed").value, start: from });
  const number = ++listing;
  const found = await ask(`/api/pictures?${words}`);
  if (number !== listing) return;
  start = from;
  const last = from + found.pictures.length;
  $("range").textContent = found.total === 0 ? "none"
    : `${(from + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${found.total.toLocaleString("en")}`;
  $("before").disabled = from === 0;
  $("after").disabled = last >= found.total;
  $("before").onclick = () => attempt(() => list(Math.max(0, from - found.step)));
  $("after").onclick = () => attempt(() => list(from + found.step));
  $("pictures").replaceChildren(...found.pictures.map((one) => tile(one, one.modality)));
}

function chosen(files) {
  if (files.length > 0) attempt(() => search({ file: files[0] }));
}

function listen() {
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("file").accept = index.suffixes.join(",");
  $("file").addEventListener("change", () => {
    chosen([...$("file").files]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") chosen([...event.dataTransfer.files]);
    });
  }
  for (const id of ["modality", "among", "top"]) {
    $(id).addEventListener("change", () => {
      if (current !== null) attempt(() => search(current.source, false));
      else offerLimits();
    });
  }
  for (const id of ["limit", "least"]) {
    $(id).addEventListener("input", () => {
      offerLimits();
      if (current !== null && $("least").validity.valid) showHits(current);
    });
  }
  for (const id of ["text", "listed"]) $(id).addEventListener("input", () => attempt(() => list(0)));
  window.addEventListener("popstate", (event) => {
    asked += 1; // what is still searched for is not wanted any more
    say("");
    show(results[event.state] ?? null);
  });
}

attempt(async () => {
  index = await ask("/api/index");
  const counted = Object.entries(index.num_pictures)
    .map(([modality, count]) => `${count.toLocaleString("en")} ${modality}`).join(" and ");
  $("index").textContent = `${counted} pictures in ${shownName(index.index)}`;
  if (Object.keys(index.num_pictures).length === 1) $("among").value = "all";
  for (const { rate } of [...index.thresholds].reverse()) {
    $("limit").append(element("option", { value: String(rate) }, `false-match rate ${rate}`));
  }
  $("limit").append(element("option", { value: "least" }, "a smallest score"));
  const usual = [0.001, 0.01].find((rate) => index.thresholds.some((one) =>
    one.rate === rate && kindsOf($("among").value).every((kind) => kind in one)));
  $("limit").value = usual ?? "";
  $("calibration").textContent = index.people_from === "clusters"
    ? "The rates were calibrated with clusters in place of people." : index.note;
  $("top").max = index.max_top;
  history.replaceState(null, "");
  listen();
  offerLimits();
  await list(0);
});
