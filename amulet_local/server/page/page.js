// The page: what a person sets, the two answers, and what is said about them.
// The parts are in modules of their own; this one connects them.

import { Answer } from "./answer.js";
import { asCurl, asPython } from "./code.js";
import { Details } from "./details.js";
import { keep, kept, showEarlier } from "./earlier.js";
import { Feedback } from "./feedback.js";
import { askForKey } from "./key.js";
import { Preferences } from "./preferences.js";
import { Run } from "./run.js";
import { Server } from "./server.js";
import { Strength } from "./strength.js";
import { onPage, short, visible } from "./text.js";

const ALTERNATIVES = 5;
const LOADING_EVERY = 700; // milliseconds
const UNREACHABLE_EVERY = 2000;
const SECOND_CLICK = 400; // a double click on Ask doesn't stop

const by = (id) => document.getElementById(id);
const server = new Server(askForKey);
const realigned = new Answer(by("realigned"));
const plain = new Answer(by("plain"));
const details = new Details(realigned, by("dock"));
const feedback = new Feedback(server, [realigned, plain], answered, (answer) => {
  if (answer === realigned) details.clear();
});
const strength = new Strength(
  {
    range: by("strength"),
    marks: by("marks"),
    value: by("strength-value"),
    note: by("strength-note"),
  },
  () => changed(),
);
const preferences = new Preferences(
  {
    chips: by("chips"),
    own: by("own"),
    add: by("add"),
    list: by("picks"),
    none: by("none"),
  },
  () => changed(),
);

/** One answer's side of a conversation: earlier messages, and the question that is being answered. */
const talks = new Map([realigned, plain].map((answer) => [answer, { past: [], asked: "" }]));
let model = "";
let runs = []; // those of the last question
let begun = 0;
let isConnecting = false;

/** The settings as a request's fields, without those of the stream. */
function settings() {
  const chosen = preferences.fields;
  if (chosen === undefined) return {};
  return chosen === null ? strength.fields : { preference: chosen, ...strength.fields };
}

/** The messages that an answer answers. */
function answered(answer) {
  const { past, asked } = talks.get(answer);
  return [...past, { role: "user", content: asked }];
}

/** answer: whose side of the conversation the question goes on. */
function question(answer) {
  const number = (id) => (by(id).value === "" || !by(id).validity.valid ? null : by(id).valueAsNumber);
  const past = by("go-on").checked ? talks.get(answer).past : [];
  const messages = [...past, { role: "user", content: by("question").value.trim() }];
  const body = { model, messages };
  body.max_tokens = number("max-tokens") ?? 256;
  body.temperature = number("temperature") ?? 0;
  const seed = number("seed");
  if (seed !== null) body.seed = seed;
  return body;
}

function realignedBody() {
  const body = { ...question(realigned), ...settings(), stream: true, amulet_trace: ALTERNATIVES };
  if (talks.get(realigned).asked) body.messages = answered(realigned);
  return body;
}

/** An answer's side of the conversation with the last turn, if that has an answer. */
function said(answer) {
  const { past, asked } = talks.get(answer);
  if (!asked || !answer.content) return past;
  return [...answered(answer), { role: "assistant", content: answer.content }];
}

/** Keeps what was said for the next question, or lets it go. */
function remember() {
  const goesOn = by("go-on").checked;
  for (const [answer, talk] of talks) {
    talk.past = goesOn ? said(answer) : [];
    talk.asked = "";
    showEarlier(answer.earlier, talk.past);
  }
}

/** What was said in this tab before the page was loaded anew. */
function recall() {
  const found = kept();
  if (!found) return;
  for (const [i, [answer, talk]] of [...talks].entries()) {
    talk.past = found.conversations?.[i] ?? [];
    showEarlier(answer.earlier, talk.past, true);
  }
  by("go-on").checked = found.goesOn;
  by("go-on-label").hidden = false;
}

function showTurns() {
  const n = talks.get(realigned).past.length / 2 || talks.get(plain).past.length / 2;
  by("go-on-label").hidden = false;
  by("turns").textContent = n > 0 ? `(this was question ${n + 1})` : "";
}

function changed() {
  showCode();
  const chosen = preferences.fields;
  const fields = { ...(chosen === null ? {} : { preference: chosen ?? null }), ...strength.fields };
  for (const run of runs) {
    if (run.answer !== realigned || run.isOver) continue;
    realigned.rows = preferences.labels;
    run.change(fields, realignedBody());
  }
}

// --- asking ------------------------------------------------------------------------------------

async function ask() {
  const asked = by("question").value.trim();
  if (!asked) {
    say("Write a question first.");
    by("question").focus();
    return;
  }
  if (by("ask").disabled) return;
  for (const run of runs) run.drop();
  remember();
  const when = by("plain-when").value;
  const isRealigned = preferences.fields !== undefined;
  const isPlain = when !== "never" || !isRealigned;
  const bodies = [realignedBody(), { ...question(plain), stream: true, method: "base" }];
  if (isRealigned) talks.get(realigned).asked = asked;
  if (isPlain) talks.get(plain).asked = asked;
  const mine = [];
  runs = mine;
  begun = performance.now();
  details.clear();
  feedback.clear();
  realigned.clear(isRealigned ? "" : "No preference is chosen, so there is nothing to realign.");
  plain.clear(isPlain ? "" : "Not asked for (see the options).");
  by("ratio").textContent = "";
  say("Answering.");
  showRunning(true);

  const first = isRealigned && new Run(server, realigned, bodies[0]);
  const second = isPlain && new Run(server, plain, bodies[1]);
  mine.push(...[first, second].filter(Boolean));
  realigned.rows = preferences.labels;
  bringIntoView();
  if (first && second && when === "after") {
    plain.wait("comes after the realigned answer");
    await first.start();
    if (first.error?.kind === "key") second.stop();
    await second.start();
  } else {
    await Promise.all(mine.map((run) => run.start()));
  }
  if (runs === mine) finish(mine, when);
}

/** when: the plain answer came, "together" with the other one or "after" it. */
function finish(mine, when) {
  showRunning(false);
  showTurns();
  details.settle();
  feedback.show();
  const failed = mine.filter((run) => run.error);
  if (failed.some((run) => run.error.kind === "unreachable")) connect();
  if (failed.length) say("");
  else say(mine.some((run) => run.wasStopped) ? "Stopped." : "Complete.");
  if (!realigned.speed || !plain.speed || failed.length || mine.length < 2) return;
  by("ratio").textContent =
    when === "after"
      ? `Realigned at ${short(realigned.speed / plain.speed, 2)}× the plain speed`
      : "Both at once slow each other down; “afterwards” (Options) compares speeds";
}

function stop() {
  if (performance.now() - begun < SECOND_CLICK) return;
  for (const run of runs) run.stop();
}

function showRunning(isRunning) {
  const [from, to] = isRunning ? [by("ask"), by("stop")] : [by("stop"), by("ask")];
  const hadFocus = document.activeElement === from;
  from.hidden = true;
  to.hidden = false;
  if (hadFocus) to.focus();
}

function say(text) {
  by("status").textContent = text;
}

/** Where everything is in one column, the answers are below what is seen. */
function bringIntoView() {
  const top = by("realigned").getBoundingClientRect().top;
  if (top < window.innerHeight * 0.6) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  by("realigned").scrollIntoView({ behavior: isCalm ? "auto" : "smooth" });
}

// --- code --------------------------------------------------------------------------------------

function showCode() {
  if (!by("code").open) return;
  const base = new URL("v1", document.baseURI).href;
  const body = { ...question(realigned), ...settings() };
  if (preferences.fields === undefined) body.method = "base";
  const last = body.messages.at(-1);
  if (!last.content) last.content = by("question").placeholder;
  by("curl").textContent = asCurl(body, base, server.hasKey);
  by("python").textContent = asPython(body, base, server.hasKey);
}

async function copy(name) {
  const code = by(name);
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(`Copied as ${name === "curl" ? "curl" : "Python"}.`);
  } catch {
    getSelection().selectAllChildren(code); // no clipboard without TLS, but for this machine
    say("Selected: copy it with Ctrl+C.");
  }
}

// --- beginning ---------------------------------------------------------------------------------

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits for the server, and reads what it has; again after it was away. */
async function connect() {
  if (isConnecting) return;
  isConnecting = true;
  for (;;) {
    try {
      await server.get("health");
      break;
    } catch (error) {
      const isLoading = error.kind === "busy";
      showState(isLoading ? "loading the model" : error.message, isLoading ? "waiting" : "bad");
      await sleep(isLoading ? LOADING_EVERY : UNREACHABLE_EVERY);
    }
  }
  for (;;) {
    try {
      await load();
      isConnecting = false;
      return;
    } catch (error) {
      showState(error.message, "bad");
      await (error.kind === "key" ? clickOn(by("enter-key")) : sleep(UNREACHABLE_EVERY));
    }
  }
}

async function clickOn(button) {
  button.hidden = false;
  await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
  button.hidden = true;
}

async function load() {
  const [props, models] = await Promise.all([server.get("props"), server.get("v1/models")]);
  model = models.data?.[0]?.id ?? props.model_alias ?? "";
  by("model").textContent = visible(model);
  by("model").title = by("model").textContent;
  preferences.load(props.amulet);
  strength.load(props.amulet);
  feedback.isOn = Boolean(props.amulet.profile);
  by("profile-link").hidden = !feedback.isOn;
  showCode();
  const problem = props.amulet.chat_problem;
  by("ask").disabled = Boolean(problem);
  if (problem) {
    realigned.clear(onPage(problem));
    plain.clear("");
    showState("can't chat", "bad");
  } else {
    showState("ready", "good");
  }
}

function showState(text, kind) {
  by("state").textContent = text;
  by("state").className = kind;
}

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
by("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
by("form").addEventListener("input", showCode);
by("code").addEventListener("toggle", showCode);
by("code").addEventListener("click", (event) => {
  const name = event.target.closest("[data-copy]")?.dataset.copy;
  if (name) copy(name);
});
by("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || by("key").open) return;
  for (const run of runs) run.stop();
});
window.addEventListener("pagehide", () => keep([...talks.keys()].map(said), by("go-on").checked));
realigned.clear("The realigned answer comes here.");
plain.clear("The plain answer comes here.");
recall();
connect();
