// The page of a profile: what was learned, when, and what it is made of.
// Knows nothing about how a profile learns: the server says it all.

import { askForKey } from "./key.js";
import { dress } from "./markdown.js";
import { Server } from "./server.js";
import { element, visible } from "./text.js";

const WIDTH = 300;
const HEIGHT = 80;
const LEAST_REACH = 1; // of the weights' axis, either way

const by = (id) => document.getElementById(id);
const server = new Server(askForKey);

async function load() {
  const user = new URLSearchParams(location.search).get("user");
  const query = user ? `?${new URLSearchParams({ user })}` : "";
  by("again").hidden = true;
  try {
    show(await server.get(`v1/amulet/profile${query}`));
    by("state").textContent = "";
    by("state").className = "good";
  } catch (error) {
    by("state").textContent = error.message;
    by("state").className = "bad";
    by("again").hidden = false;
  }
}

function show(found) {
  by("name").textContent = visible(found.profile);
  by("mix").textContent = visible(found.words[0]);
  const last = found.words.filter((line) => /^(Last|The taste|Strength|Estimates)/.test(line));
  by("last").textContent = visible(last.join(" "));
  const reach = Math.max(
    LEAST_REACH,
    ...found.weights.flatMap(({ history }) => history.flatMap(({ low, high }) => [-low, high])),
  );
  by("weights").replaceChildren(...found.weights.map((weight) => curve(weight, reach)));
  fill("facts", found.facts, ({ text }) => [kept(text)]);
  fill("examples", found.examples, ({ question, text }) => [asked(question), kept(text)]);
  fill("feedback", found.feedback.toReversed(), ({ says, question, better, worse }) => [
    element("span", "", says),
    asked(question),
    kept(better),
    kept(worse, "worse"),
  ]);
  fill("forgotten", found.forgotten.toReversed(), (one) => [
    element("span", "", counted(one)),
  ]);
  by("profile").hidden = false;
}

/** One preference: its name, what is known of it, and its weight over time with the interval. */
function curve({ name, text, says, mean, low, high, history }, reach) {
  const made = element("li", mean < 0 ? "less" : "");
  const head = element("div", "curve-head");
  const title = element("bdi", "name", visible(name));
  title.title = visible(text);
  const figures = `${signed(mean)} (${signed(low)} to ${signed(high)})`;
  head.append(title, element("span", "says", says), element("span", "figures", figures));
  const picture = shape("svg", {
    class: "curve",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${visible(name)}: ${figures}, ${says}`,
  });
  const points = history.length > 1 ? history : [...history, ...history];
  const x = (i) => (WIDTH * i) / Math.max(points.length - 1, 1);
  const y = (weight) => (HEIGHT / 2) * (1 - weight / reach);
  const line = (of) => points.map((point, i) => `${x(i).toFixed(1)},${y(of(point)).toFixed(1)}`);
  const upper = line((point) => point.high);
  const lower = line((point) => point.low).reverse();
  picture.append(
    shape("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
    shape("line", { class: "zero", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
    shape("polyline", { class: "mean", points: line((point) => point.mean).join(" ") }),
  );
  made.append(head, picture);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function fill(id, items, parts) {
  const lines = items.map((item) => {
    const line = element("li");
    const when = new Date(1000 * item.at).toLocaleString();
    const number = item.id ? `${item.id} · ${when}` : when;
    line.append(element("span", "number", number), ...parts(item).filter(Boolean));
    return line;
  });
  by(id).replaceChildren(...(lines.length ? lines : [element("li", "none", "nothing yet")]));
}

function asked(question) {
  if (!question) return null;
  const made = element("p", "dim", `on “${visible(question)}”`);
  made.dir = "auto";
  return made;
}

function kept(text, classes = "") {
  if (!text) return null;
  const made = element("p", `kept ${classes}`, visible(text));
  made.dir = "auto";
  dress([{ node: made, text: made.textContent, shown: "" }]);
  return made;
}

function counted({ feedback, examples, facts }) {
  return [
    [feedback, "piece of feedback", "pieces of feedback"],
    [examples, "example", "examples"],
    [facts, "fact", "facts"],
  ]
    .filter(([n]) => n > 0)
    .map(([n, one, many]) => `${n} ${n === 1 ? one : many}`)
    .join(", ");
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

by("again").addEventListener("click", load);
load();
