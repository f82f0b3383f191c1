// Asks for the API key. Keeps nothing: whoever asked has it, in memory.

const SENDABLE = /^[\x21-\x7e]+$/; // what a header can hold

/** Resolves with the key, or with "" where the person has none. */
export function askForKey(wasWrong) {
  const dialog = document.getElementById("key");
  const text = document.getElementById("key-text");
  const problem = document.getElementById("key-problem");
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
