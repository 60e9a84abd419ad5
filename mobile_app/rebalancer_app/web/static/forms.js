"use strict";

/** Helpers of the pages before and around the app: requests, messages, passkeys. */

/** Return the path to open afterwards; only one of this site. */
export function next() {
  const wanted = new URLSearchParams(location.search).get("next") || "/";
  const own = wanted.startsWith("/") && !wanted.startsWith("//") && !wanted.includes("\\");
  return own ? wanted : "/";
}

const words = JSON.parse(document.body.dataset.words);

/** Return a text in the language of the page. */
export function word(name) {
  return words[name];
}

/** Show a message at the form, or hide it when the text is empty. */
export function show(text, kind = "problem") {
  const line = document.getElementById("message");
  line.textContent = text;
  line.className = kind;
  line.hidden = !text;
  if (text) line.scrollIntoView({ block: "nearest" });
}

/** Return a sentence for a problem in the language of the page; undefined without one. */
function known(code, field, seconds) {
  const name = String(field ?? "").split(".").pop();
  const found = word(`problem.${code}.${name}`) ?? word(`problem.${code}`);
  if (!found || !found.includes("{seconds}")) return found;
  return seconds ? found.replace("{seconds}", seconds) : undefined;
}

/** Return a text of the server, which is English, as a sentence. */
function finish(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : begun + ".";
}

/** Return what is wrong, from the answer of the server and its header Retry-After. */
export function sentence(told, seconds = null) {
  const faults = told.errors ?? Object.keys(told.fields ?? {}).map((field) => ({ field }));
  if (faults.length > 1 && told.errors) {
    const each = (one) => known(one.code, one.field) ?? finish(`${one.field}: ${one.message}`);
    return faults.map(each).join(" ");
  }
  const field = faults.length === 1 ? faults[0].field : "";
  return known(told.code, field, seconds) ?? finish(told.detail || word("failed"));
}

/** Send a body; resolve to the answer, or throw an Error with the server's answer in `told`. */
export async function send(path, body = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error(word("problem.unreachable"));
  }
  const text = await response.text();
  let told = {};
  try {
    told = text ? JSON.parse(text) : {};
  } catch {
    told = {};
  }
  if (response.ok) return told;
  const error = new Error(sentence(told, response.headers.get("Retry-After")));
  error.told = told;
  error.status = response.status;
  throw error;
}

/** Run a step of a form: one at a time, its failure shown. */
export function whenSubmitted(form, step) {
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    show("");
    button.disabled = true;
    try {
      await step(form);
    } catch (error) {
      show(error.message);
    }
    button.disabled = false;
  });
}

export const passkeysWork = Boolean(
  window.PublicKeyCredential && window.isSecureContext && navigator.credentials
);

/** Return the credential that signs in with a passkey. */
export async function getPasskey(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.public_key);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}

/** Return the credential of a new passkey. */
export async function createPasskey(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.public_key);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}

/** Return a sentence for what a browser reports about a passkey. */
export function passkeyFailure(error) {
  if (error.told || !(error instanceof DOMException)) return error.message;
  if (error.name === "InvalidStateError") return word("passkey_here");
  return word("passkey_unused");
}

/** Show recovery codes, and resolve when they have been stored. */
export function showCodes(codes) {
  const box = document.getElementById("codes");
  box.querySelector("pre").textContent = codes.join("\n");
  document.querySelectorAll("form, #others").forEach((each) => (each.hidden = true));
  box.hidden = false;
  box.querySelector("h2").focus();
  return new Promise((resolve) => {
    box.querySelector("button").addEventListener("click", resolve, { once: true });
  });
}
