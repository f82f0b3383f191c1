
const data = JSON.parse(document.getElementById("data").textContent);
const answer = document.getElementById("answer");
const strip = document.getElementById("strip");
const mark = document.getElementById("mark");
const details = document.getElementById("details");
const tokens = [...answer.querySelectorAll(".t")];
const bars = [...strip.querySelectorAll(".bar")];
let kept = data.start; // stays when the pointer leaves
let shown = -1;

function element(name, classes, text) {
  const made = document.createElement(name);
  made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

function candidate([label, kind, percentage, share, chosen]) {
  const item = element("li", chosen ? "chosen" : "");
  const fill = element("span", "fill");
  fill.style.width = `${100 * share}%`;
  const name = element("bdi", `label ${kind}`, label);
  name.title = label;
  item.append(fill, name, element("span", "value", percentage));
  return item;
}

function row(token, index) {
  const column = element("div", "row");
  const heading = element("h3", "", data.rows[index]);
  heading.title = data.rows[index];
  heading.dir = "auto";
  const list = element("ol", "");
  list.append(...token.tops[index].map(candidate));
  column.append(heading, element("p", "share", token.shares[index]), list);
  return column;
}

function describe(position) {
  const token = data.tokens[position];
  const [label, kind] = token.name;
  const head = element("div", "head");
  const figures = [token.moved, `KL ${token.kl} nats`, `guidance scale ${token.scale}`]
    .filter(Boolean)
    .join(" · ");
  head.append(
    element("bdi", `name ${kind}`, label),
    element("span", "note", `token ${position + 1} of ${tokens.length}`),
    element("p", "facts-line", figures),
  );
  const rows = element("div", "rows");
  rows.append(...data.rows.map((_, index) => row(token, index)));
  const close = element("button", "close", "×");
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => details.classList.add("closed"));
  details.replaceChildren(head, rows, close);
}

// Where there is little room the details come when they are asked for, and can be closed again.
function open() {
  details.classList.remove("closed");
}

function show(position) {
  if (position === shown) return;
  for (const part of [tokens[shown], bars[shown]]) part?.classList.remove("on");
  shown = position;
  for (const part of [tokens[shown], bars[shown]]) part.classList.add("on");
  mark.setAttribute("x", shown);
  mark.style.visibility = "visible";
  describe(shown);
}

function keep(position) {
  open();
  tokens[kept].tabIndex = -1;
  kept = Math.max(0, Math.min(tokens.length - 1, position));
  tokens[kept].tabIndex = 0;
  show(kept);
}

function tokenAt(event) {
  const token = event.target.closest("#answer .t");
  return token ? Number(token.dataset.i) : null;
}

function barAt(event) {
  const box = strip.getBoundingClientRect();
  const position = Math.floor(((event.clientX - box.left) / box.width) * tokens.length);
  return Math.max(0, Math.min(tokens.length - 1, position));
}

answer.addEventListener("pointerover", (event) => {
  const position = tokenAt(event);
  if (position === null || event.pointerType === "touch") return;
  open();
  show(position);
});
answer.addEventListener("pointerleave", () => show(kept));
answer.addEventListener("click", (event) => {
  const position = tokenAt(event);
  if (position === null) return;
  keep(position);
  tokens[kept].scrollIntoView({ block: "nearest" });
});
answer.addEventListener("focusin", (event) => {
  const position = tokenAt(event);
  if (position !== null) keep(position);
});
answer.addEventListener("keydown", (event) => {
  const steps = { ArrowRight: kept + 1, ArrowLeft: kept - 1, Home: 0, End: tokens.length - 1 };
  if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  keep(steps[event.key]);
  tokens[kept].focus();
});
strip.addEventListener("pointermove", (event) => show(barAt(event)));
strip.addEventListener("pointerleave", () => show(kept));
strip.addEventListener("click", (event) => {
  keep(barAt(event));
  tokens[kept].scrollIntoView({ block: "nearest" });
});
// A special token has a name and no part in the answer's text.
const isText = (node) => !node.classList.contains("special");
dress(tokens.map((node) => ({ node, text: isText(node) ? node.textContent : "", shown: "" })));
tokens[0].tabIndex = -1;
answer.after(element("p", "note hint", "A tap on a token shows what else was likely there."));
keep(kept);
details.classList.add("closed");
