// What a person says of the answers: thumbs, a pick of the two, an answer edited in place.
// Knows nothing about how answers are made; what was learned from it is the server's to say.

import { element, visible } from "./text.js";

export class Feedback {
  #bars = new Map(); // answer -> the elements of its bar

  /**
   * messagesOf: the messages that an answer answers. onEdit: told which answer has another text.
   */
  constructor(server, answers, messagesOf, onEdit) {
    this.server = server;
    this.messagesOf = messagesOf;
    this.onEdit = onEdit;
    this.isOn = false; // whether the server learns
    for (const answer of answers) this.#bars.set(answer, this.#bar(answer));
    this.clear();
  }

  clear() {
    for (const [answer, bar] of this.#bars) {
      bar.root.hidden = true;
      bar.said.textContent = "";
      this.#close(answer);
    }
  }

  /** The answers are complete. */
  show() {
    const texts = [...this.#bars.keys()].map(({ content }) => content);
    const isPair = texts.every(Boolean) && new Set(texts).size === texts.length;
    for (const [answer, bar] of this.#bars) {
      bar.root.hidden = !this.isOn || !answer.content;
      bar.pick.hidden = !isPair;
      for (const button of bar.buttons) {
        button.disabled = false;
        button.removeAttribute("aria-pressed");
      }
    }
  }

  #bar(answer) {
    const root = element("div", "say");
    const make = (text, run) => {
      const button = element("button", "say-button", text);
      button.type = "button";
      button.addEventListener("click", () => run(button));
      root.append(button);
      return button;
    };
    const rate = (rating) => (button) =>
      this.#tell(answer, [button], { response: answer.content, rating });
    const good = make("Good", rate(1));
    const bad = make("Bad", rate(-1));
    const pick = make("I prefer this one", (button) => this.#pick(answer, button));
    const edit = make("Edit", () => this.#edit(answer));
    const said = element("p", "note");
    said.setAttribute("role", "status");
    root.append(said);
    answer.root.querySelector(".body").append(root);
    return { root, said, pick, edit, buttons: [good, bad, pick, edit], form: null };
  }

  #pick(answer, button) {
    const other = [...this.#bars.keys()].find((one) => one !== answer);
    const both = [button, this.#bars.get(other).pick];
    this.#tell(answer, both, { chosen: answer.content, rejected: other.content });
  }

  /** Says it, and that it was said; what was said once isn't said again. */
  async #tell(answer, buttons, fields) {
    const { said } = this.#bars.get(answer);
    for (const button of buttons) button.disabled = true;
    said.className = "note";
    said.textContent = "Learning …";
    try {
      const learned = await this.server.feedback({ messages: this.messagesOf(answer), ...fields });
      buttons[0].setAttribute("aria-pressed", "true");
      said.textContent = wordsOf(learned);
      return true;
    } catch (error) {
      for (const button of buttons) button.disabled = false;
      said.className = "note error";
      said.textContent = error.message;
      return false;
    }
  }

  #edit(answer) {
    const bar = this.#bars.get(answer);
    const form = element("div", "edit");
    const text = element("textarea");
    text.value = answer.content;
    text.setAttribute("aria-label", "The answer as it should have been");
    const save = element("button", "main-button", "Save");
    const cancel = element("button", "", "Cancel");
    save.type = cancel.type = "button";
    save.addEventListener("click", () => this.#save(answer, text.value.trim()));
    cancel.addEventListener("click", () => this.#close(answer));
    text.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#close(answer);
    });
    form.append(text, save, cancel);
    answer.text.hidden = true;
    answer.text.after(form);
    bar.form = form;
    bar.edit.disabled = true;
    text.focus();
  }

  #close(answer) {
    const bar = this.#bars.get(answer);
    if (!bar.form) return;
    bar.form.remove();
    bar.form = null;
    bar.edit.disabled = false;
    answer.text.hidden = false;
    bar.edit.focus();
  }

  async #save(answer, edited) {
    const response = answer.content;
    this.#close(answer);
    if (!edited || edited === response.trim()) return;
    const { edit } = this.#bars.get(answer);
    if (!(await this.#tell(answer, [edit], { response, edited }))) return;
    answer.rewrite(edited);
    edit.disabled = false;
    this.onEdit(answer);
  }
}

function wordsOf({ changed, preference, guess }) {
  const mix = preference.map(({ name, weight }) => `${name}:${weight}`).join(", ");
  const follows = `${changed} From here on: ${mix || "nothing yet"}.`;
  const guessed = ` A guess from your change: “${guess}”. It counts for nothing until your picks say so.`;
  return visible(guess ? follows + guessed : follows);
}
