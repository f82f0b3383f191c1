// Asks for the API key, in a dialog of its own. Keeps nothing: whoever asked has it, in memory.

const SENDABLE = /^[\x21-\x7e]+$/; // what a header can hold

const problem = put("p", { id: "key-problem", role: "alert" });
const text = put("input", {
  id: "key-text", type: "password", autocomplete: "off", spellcheck: false,
});
const dialog = put("dialog", { id: "key" }, [
  put("form", { method: "dialog" }, [
    put("h2", { id: "key-title" }, ["This server asks for an API key"]),
    problem,
    put("label", { htmlFor: "key-text" }, ["API key"]),
    text,
    put("p", { className: "dim" }, [
      "It is kept in this page's memory until you close or reload it, and nowhere else.",
    ]),
    put("div", { className: "buttons" }, [
      put("button", { type: "submit", value: "use", className: "main-button" }, ["Use it"]),
      put("button", { type: "submit", value: "", formNoValidate: true }, ["Cancel"]),
    ]),
  ]),
]);
dialog.setAttribute("aria-labelledby", "key-title");
document.body.append(dialog);

function put(name, properties, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Resolves with the key, or with "" where the person has none. */
export function askForKey(wasWrong) {
  problem.textContent = wasWrong ? "The server doesn't take this key." : "";
  text.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const submit = (event) => {
      if (event.submitter?.value !== "use" || SENDABLE.test(text.value.trim())) return;
      event.preventDefault();
      problem.textContent = "A key has letters, digits and signs, without blanks.";
      text.focus();
    };
    dialog.addEventListener("submit", submit);
    dialog.addEventListener(
      "close",
      () => {
        dialog.removeEventListener("submit", submit);
        resolve(dialog.returnValue === "use" ? text.value.trim() : "");
        text.value = "";
      },
      { once: true },
    );
  });
}
