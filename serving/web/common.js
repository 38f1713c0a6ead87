// Functions of both pages. Text from outside only ever becomes a text node, never markup.
import { _, language } from "./messages.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

// A header holds bytes: a key of any letters is sent as its UTF-8.
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

// The signed session of this page, sent with its requests where the key is not.
export const visitor = { token: null };

async function ask(path, body, method, more = {}) {
  const headers = { "Accept-Language": language, ...more };
  const key = sessionStorage.getItem("key");
  if (visitor.token) headers["X-Session-Token"] = visitor.token;
  else if (key) headers["X-API-Key"] = bytes(key);
  if (body !== undefined) headers["Content-Type"] = "application/json";
  // Relative: a proxy may serve the pages below a path.
  const answer = await fetch(`.${path}`, {
    method: method || (body === undefined ? "GET" : "POST"),
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const isJson = (answer.headers.get("content-type") || "").includes("json");
  const found = isJson ? await answer.json() : null;
  const error = new Error((found && found.error && _(found.error)) || _("the server answered {status}", { status: answer.status }));
  error.status = answer.status;
  throw error;
}

export async function api(path, body, method, headers) {
  const answer = await ask(path, body, method, headers);
  const isJson = (answer.headers.get("content-type") || "").includes("json");
  return isJson ? answer.json() : answer.text();
}

// Server-sent events of a POST → onEvent(name, data), one after the other.
export async function stream(path, body, onEvent) {
  const answer = await ask(path, { ...body, stream: true });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (.*)\ndata: (.*)$/) || [];
      if (name) onEvent(name, JSON.parse(data));
    }
  }
}

export function say(where, text, isError = false) {
  where.textContent = text;
  where.classList.toggle("error", isError);
}
