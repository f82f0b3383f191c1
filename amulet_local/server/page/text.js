// Figures and foreign text as people read them, by the rules of readable.py and explanation.py.
// Knows nothing about the page or the server.

const ACTING =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const DROPPED = "\r\u061c\u200e\u200f";
const STEP_FACTORS = [1.5, 3, 10, 30];

/** The text with every character that would act on its surroundings made visible, or dropped. */
export function visible(text) {
  return text.replace(ACTING, (character) => {
    if (DROPPED.includes(character)) return "";
    const code = character.charCodeAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** exp of a natural logarithm: "38.2%", "0.012%". null is minus infinity, as in JSON. */
export function percent(logProbability) {
  const share = logProbability === null ? 0 : 100 * Math.exp(logProbability);
  if (share === 0) return "0%";
  if (share < 1e-3) return "<0.001%";
  return `${share >= 1 ? share.toFixed(1) : Number(share.toPrecision(2))}%`;
}

const UNITS = [
  [1e12, 1e12, "trillion"],
  [1e9, 1e9, "billion"],
  [1e6, 1e6, "million"],
  [1e4, 1e3, "thousand"],
];

/** exp of a natural logarithm in words: "12 times likelier than plain"; null is unknown. */
export function timesLikelier(logRatio) {
  if (logRatio === null) return "";
  if (logRatio === Infinity) return "impossible under the plain prompt";
  if (logRatio === -Infinity) return "made impossible";
  if (Math.abs(logRatio) < Math.log(1.05)) return "as likely as plain";
  const direction = logRatio > 0 ? "likelier" : "less likely";
  return `${times(Math.abs(logRatio))} times ${direction} than plain`;
}

function times(logRatio) {
  if (logRatio / Math.LN10 >= 15) return "over a quadrillion";
  const ratio = Math.exp(logRatio);
  for (const [start, unit, name] of UNITS) {
    if (ratio < start) continue;
    const count = ratio / unit;
    return `${count < 9.5 ? count.toFixed(1) : Math.round(count)} ${name}`;
  }
  return ratio >= 9.5 ? Math.round(ratio).toLocaleString("en") : ratio.toFixed(1);
}

/**
 * What a server says, for whoever sees the page: hints that name fields of a request or flags of
 * the server's start are left out, or say where it is on the page.
 */
export function onPage(warning) {
  const said = visible(warning)
    .replace("; allow more of them (max_tokens)", "; allow more tokens under Options")
    .replace(/ \(\w+=(?:true|false|null)(?:: [^()]*)?\)/g, "")
    .replace(/ \((?:[^()]*[\s,])?-{1,2}[a-z][^()]*\)/g, "")
    .replace(/(^|[\s(,])--([a-z-]+)/g, "$1$2");
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? "" : "."}`;
}

/** A traced token's log p_realigned - log p_plain; null where the plain row wasn't computed. */
export function moved(token) {
  if (token.plain === undefined || token.realigned === null) return null;
  return token.plain === null ? Infinity : token.realigned - token.plain;
}

/** How strongly to colour a token, 0 to 4: below 0 for one that has become less likely. */
export function step(logRatio) {
  if (logRatio === null) return 0;
  const reached = STEP_FACTORS.filter((times) => Math.abs(logRatio) >= Math.log(times)).length;
  return Math.sign(logRatio) * reached;
}

/** A token's name with its blanks to be seen. */
export function label(text) {
  if (text === "") return "(no text)";
  return visible(text)
    .replace(/\ufffd+/g, "(part of a character)")
    .replaceAll("\n", "↵")
    .replaceAll("\t", "⇥")
    .replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
}

/** A number without needless zeros: 0.5, 5.65, 12. */
export function short(value, digits = 3) {
  return String(Number(value.toPrecision(digits)));
}

/** Seconds as people say them: "4 ms", "0.31 s", "12 s". */
export function seconds(milliseconds) {
  if (milliseconds < 100) return `${Math.round(milliseconds)} ms`;
  const value = milliseconds / 1000;
  return `${value >= 10 ? Math.round(value) : value.toFixed(value >= 1 ? 1 : 2)} s`;
}

/** An element with a class and, if given, a text; never markup. */
export function element(name, classes, text) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}
