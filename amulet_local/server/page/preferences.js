// The preferences of an answer: names to switch on and off, words of one's own, a weight for each.
// Knows what they are in a request, and nothing about answers.

import { element, short, visible } from "./text.js";

const MAX_WEIGHT = 1000; // as in names.py
const SHOWN_WEIGHT = 2; // where the slider of a weight ends
const LEARNED = { name: "my profile", text: "what was learned from what you picked and said" };

export class Preferences {
  #chosen = []; // { name, text, weight, row }: name is "" for words of one's own
  #chips = new Map(); // name -> button
  #given = null; // the one that nobody chose, until something is

  /** parts: the elements chips, own (input), add (button), list, none. */
  constructor(parts, onChange) {
    this.parts = parts;
    this.onChange = onChange;
    parts.add.addEventListener("click", () => this.#addOwn());
    parts.own.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault(); // the form would ask
      this.#addOwn();
    });
  }

  /**
   * amulet: what /props says. The first name is chosen, so that there is something to see; it gives
   * way to the first words of one's own.
   */
  load({ preferences, mixes, profile }) {
    const known = [...(profile ? [LEARNED] : []), ...preferences, ...mixes.map(mixOf)];
    this.#chips.clear();
    this.parts.chips.replaceChildren(...known.map((one) => this.#chip(one)));
    if (known.length && !this.#chosen.length) {
      this.#choose(known[0]);
      [this.#given] = this.#chosen;
    }
    this.#show();
  }

  /** For a request: undefined if none is chosen, null if what was learned is to be followed. */
  get fields() {
    if (this.#chosen.length === 0) return undefined;
    if (this.#isLearned) return null;
    const all = this.#chosen.map((one) => (one.name ? named(one) : worded(one)));
    return all.length === 1 && typeof all[0] === "string" ? all[0] : all;
  }

  /** What to call them until the server says. */
  get labels() {
    if (this.#isLearned) return [];
    return this.#chosen.map(({ name, text, weight }) => named({ name: name || text, weight }));
  }

  get #isLearned() {
    return this.#chosen.some((one) => one.name === LEARNED.name);
  }

  #chip(one) {
    const chip = element("button", "chip", one.name);
    chip.type = "button";
    chip.title = visible(one.text);
    chip.addEventListener("click", () => {
      this.#given = null;
      const at = this.#chosen.findIndex((other) => other.name === one.name);
      if (at >= 0) this.#remove(at);
      else this.#choose(one);
      this.#show();
      this.onChange();
    });
    this.#chips.set(one.name, chip);
    return chip;
  }

  #addOwn() {
    const { own } = this.parts;
    const text = unquoted(own.value.trim());
    own.focus();
    if (!text) return;
    own.value = "";
    const known = [...this.#chips.keys()].find((name) => name.toLowerCase() === text.toLowerCase());
    const isChosen = this.#chosen.some((one) => (known ? one.name === known : one.text === text));
    if (isChosen) return;
    if (known) this.#chips.get(known).click();
    else {
      if (this.#given) this.#remove(this.#chosen.indexOf(this.#given));
      this.#choose({ name: "", text });
      this.#show();
      this.onChange();
    }
  }

  /** What was learned is followed alone. */
  #choose({ name, text }) {
    if (name === LEARNED.name || this.#isLearned) {
      while (this.#chosen.length) this.#remove(0);
    }
    const one = { name, text, weight: 1 };
    one.row = this.#row(one);
    this.#chosen.push(one);
    this.parts.list.append(one.row);
  }

  #remove(at) {
    const [{ row }] = this.#chosen.splice(at, 1);
    row.remove();
    this.#given = null;
  }

  #row(one) {
    const row = element("li", "pick");
    const shown = visible(one.name || one.text);
    const name = element("bdi", "pick-name", shown);
    name.title = visible(one.text);
    const words = element("span", "pick-words", one.name ? visible(one.text) : "");
    const remove = element("button", "plain-button", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Leave out: ${shown}`);
    remove.addEventListener("click", () => {
      const next = row.nextElementSibling ?? row.previousElementSibling;
      (next?.querySelector(".plain-button") ?? this.parts.own).focus();
      this.#remove(this.#chosen.indexOf(one));
      this.#show();
      this.onChange();
    });
    const head = element("div", "pick-head");
    head.append(name, words, remove);
    row.append(head);
    if (one.name !== LEARNED.name) row.append(this.#weight(one, row, shown));
    return row;
  }

  /** A slider from less to more, and a field for exact numbers. */
  #weight(one, row, shown) {
    const range = element("input");
    Object.assign(range, { type: "range", min: -SHOWN_WEIGHT, max: SHOWN_WEIGHT, step: 0.1 });
    const number = element("input");
    Object.assign(number, { type: "number", min: -MAX_WEIGHT, max: MAX_WEIGHT, step: "any" });
    range.setAttribute("aria-label", `Weight of ${shown}, below 0 for less of it`);
    number.setAttribute("aria-label", `Weight of ${shown} as a number`);
    const set = (text, from) => {
      const weight = Number(text);
      const isGood = text !== "" && Math.abs(weight) <= MAX_WEIGHT;
      number.setAttribute("aria-invalid", String(!isGood));
      if (!isGood) return;
      one.weight = weight;
      if (from) this.#given = null;
      if (from !== range) range.value = weight;
      if (from !== number) number.value = short(weight, 4);
      row.classList.toggle("less", weight < 0);
      row.classList.toggle("off", weight === 0);
      range.setAttribute("aria-valuetext", weight < 0 ? `${weight}, less of this` : `${weight}`);
      if (from) this.onChange();
    };
    range.addEventListener("input", () => set(range.value, range));
    number.addEventListener("input", () => set(number.value, number));
    set("1", null);
    const box = element("div", "weight");
    box.append(element("span", "end", "less"), range, element("span", "end", "more"), number);
    return box;
  }

  #show() {
    for (const [name, chip] of this.#chips) {
      const isChosen = this.#chosen.some((one) => one.name === name);
      chip.setAttribute("aria-pressed", String(isChosen));
    }
    this.parts.none.hidden = this.#chosen.length > 0;
  }
}

/** A text without the quotes around it, as the command line takes it: "in rhyme", „auf Deutsch“. */
function unquoted(text) {
  const isQuoted = /^(?:"[^"]+"|'[^']+'|[“„][^“”„]+[“”]|«[^«»]+»)$/.test(text);
  return (isQuoted && text.slice(1, -1).trim()) || text;
}

/** A name with its weight, "concise:0.5", as everywhere: in a mix it multiplies the weights. */
function named({ name, weight }) {
  return weight === 1 ? name : `${name}:${Number(weight.toFixed(4))}`;
}

/** Words of one's own: a text is never looked up as a name. */
function worded({ text, weight }) {
  return { text, weight };
}

/** A mix of the user's settings as a name and a text, whichever way it is written. */
function mixOf(mix) {
  if (typeof mix === "string") return { name: mix, text: mix };
  const { name, text, parts } = mix;
  return { name, text: text ?? (parts ?? []).join(", ") };
}
