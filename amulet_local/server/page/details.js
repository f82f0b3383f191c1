// What else was likely where a token stands: under each row, for the token that is pointed at.
// Knows nothing about requests.

import { element, label, moved, percent, short, timesLikelier } from "./text.js";

export class Details {
  #kept = -1; // stays when the pointer leaves
  #shown = -1;
  #isClosing = false;
  #byPerson = false; // whether a person chose what is kept

  /** answer: an Answer. dock: the panel with elements of the classes hint, head, rows and close. */
  constructor(answer, dock) {
    this.answer = answer;
    this.dock = dock;
    [this.hint, this.head, this.rows] = ["hint", "head", "rows"].map((name) =>
      dock.querySelector(`.${name}`),
    );
    dock.querySelector(".close").addEventListener("click", () => this.#close());
    this.#listen(answer.text);
  }

  clear() {
    this.#kept = -1;
    this.#byPerson = false;
    this.dock.classList.remove("open");
    this.#show(-1);
  }

  /** The answer is complete: unless a person chose another, show the token that moved most. */
  settle() {
    if (this.#byPerson || this.answer.tokens.length === 0) return;
    const distances = this.answer.tokens.map(({ token }) => Math.abs(moved(token) ?? 0));
    this.#kept = distances.indexOf(Math.max(...distances));
    this.#show(this.#kept);
  }

  #listen(text) {
    // A move, because a token also comes under a pointer that rests, when the text around it moves.
    text.addEventListener("pointermove", (event) => {
      const position = this.#at(event);
      if (position === null || event.pointerType === "touch") return;
      this.dock.classList.add("open");
      this.#show(position);
    });
    text.addEventListener("pointerleave", () => this.#show(this.#kept));
    text.addEventListener("click", (event) => {
      const position = this.#at(event);
      if (position !== null && getSelection().isCollapsed) this.#keep(position);
    });
    text.addEventListener("focus", () => {
      const isByKey = text.matches(":focus-visible") && !this.#isClosing;
      if (isByKey && this.answer.tokens.length) this.#keep(this.#kept);
    });
    text.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const last = this.answer.tokens.length - 1;
    const steps = { ArrowRight: this.#kept + 1, ArrowLeft: this.#kept - 1, Home: 0, End: last };
    const isOther = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
    if (!(event.key in steps) || isOther || last < 0) return;
    event.preventDefault();
    this.#keep(steps[event.key]);
    this.#span(this.#kept)?.scrollIntoView({ block: "nearest" });
  }

  #at(event) {
    const span = event.target.closest(".t");
    return span ? Number(span.dataset.i) : null;
  }

  #span(position) {
    return this.answer.tokens[position]?.span;
  }

  #keep(position) {
    this.#byPerson = true;
    this.#kept = Math.max(0, Math.min(this.answer.tokens.length - 1, position));
    this.dock.classList.add("open");
    this.#show(this.#kept);
  }

  #close() {
    this.clear();
    this.#byPerson = true;
    this.#isClosing = true; // having the focus would open it again
    this.answer.text.focus({ preventScroll: true });
    this.#isClosing = false;
  }

  #show(position) {
    if (position === this.#shown) return;
    this.#span(this.#shown)?.classList.remove("on");
    this.#shown = position;
    if (position < 0) {
      this.#showNothing();
      return;
    }
    this.#span(position)?.classList.add("on");
    const { token, text, rows } = this.answer.tokens[position];
    this.hint.hidden = true;
    const distance = moved(token);
    const facts = [
      timesLikelier(distance),
      `KL ${(token.kl ?? 0).toFixed(2)} nats`,
      `guidance scale ${short(token.scale ?? 0)}`,
    ];
    this.head.replaceChildren(
      element("bdi", "name", label(text)),
      element("span", "place", `token ${position + 1}`),
      element("span", "facts", facts.filter(Boolean).join(" · ")),
    );
    this.rows.replaceChildren(...columns(token, rows));
  }

  #showNothing() {
    this.hint.hidden = false;
    this.head.replaceChildren();
    this.rows.replaceChildren();
  }
}

/** One column for each row: the plain prompt, each preference, what the token was chosen from. */
function columns(token, names) {
  const preferences = (token.preferences ?? []).map((share, k) => [
    names[k] ?? `preference ${k + 1}`,
    share,
    token.top_preferences?.[k],
  ]);
  const all = [["plain", token.plain, token.top_plain], ...preferences];
  all.push(["realigned", token.realigned, token.top_realigned]);
  return all.filter(([, share]) => share !== undefined).map((row) => column(row, token.id));
}

function column([name, share, top], chosen) {
  const made = element("div", "row");
  const heading = element("h3", "", name);
  heading.title = name;
  heading.dir = "auto";
  const list = element("ol", "");
  list.append(...(top ?? []).map((other) => candidate(other, chosen)));
  made.append(heading, element("p", "share", percent(share)), list);
  return made;
}

function candidate({ id, text, logprob }, chosen) {
  const item = element("li", id === chosen ? "chosen" : "");
  const fill = element("span", "fill");
  fill.style.width = `${100 * Math.exp(logprob)}%`;
  const name = element("bdi", "label", label(text));
  name.title = name.textContent;
  item.append(fill, name, element("span", "value", percent(logprob)));
  return item;
}
