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

/** exp of a natural logarithm as a factor: "×12", "×0.33". */
export function factor(logRatio) {
  if (logRatio === Infinity) return "from 0%";
  if (logRatio === -Infinity) return "×0";
  const exponent = logRatio / Math.LN10;
  if (Math.abs(exponent) >= 4) return `×1e${Math.round(exponent)}`;
  const ratio = Math.exp(logRatio);
  if (ratio >= 9.5) return `×${Math.round(ratio).toLocaleString("en")}`;
  return `×${ratio >= 0.95 ? ratio.toFixed(1) : Number(ratio.toPrecision(2))}`;
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
  if (/^\ufffd+$/.test(text)) return "(part of a character)";
  return visible(text)
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
