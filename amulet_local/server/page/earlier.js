// The earlier turns of a conversation: shown above the answer that goes on from them, and kept for
// as long as the browser's tab is open, so that they are still there when the page is loaded anew.
// Knows nothing about requests.

import { dress } from "./markdown.js";
import { element, visible } from "./text.js";

const NAME = "amulet-conversation";

/** Shows questions and answers in a list, a line each that opens; isOpen: the last one's state. */
export function showEarlier(list, messages, isOpen = false) {
  const turns = [];
  for (let i = 0; i + 1 < messages.length; i += 2) {
    const turn = element("details", "turn");
    const answer = element("div", "turn-answer");
    const node = element("span", "", visible(messages[i + 1].content));
    dress([{ node, text: node.textContent, shown: "" }]);
    answer.dir = "auto";
    answer.append(node);
    turn.append(element("summary", "", visible(messages[i].content)), answer);
    turns.push(turn);
  }
  if (turns.length) turns.at(-1).open = isOpen;
  list.replaceChildren(...turns);
}

/** Keeps conversations, lists of messages, until the tab is closed; none are forgotten. */
export function keep(conversations, goesOn) {
  try {
    if (conversations.some((messages) => messages.length)) {
      sessionStorage.setItem(NAME, JSON.stringify({ conversations, goesOn }));
    } else sessionStorage.removeItem(NAME);
  } catch {
    // storage is blocked or full: the conversation lasts as long as the page
  }
}

/** What was kept: { conversations, goesOn }; null for nothing. */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME));
  } catch {
    return null;
  }
}
