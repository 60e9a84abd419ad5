"use strict";

/** Helpers of the pages before and around the app: requests, messages, passkeys. */

/** Return the path to open afterwards; only one of this site. */
export function next() {
  const wanted = new URLSearchParams(location.search).get("next") || "/";
  const own = wanted.startsWith("/") && !wanted.startsWith("//") && !wanted.includes("\\");
  return own ? wanted : "/";
}

/** Show a message at the form, or hide it when the text is empty. */
export function show(text, kind = "problem") {
  const line = document.getElementById("message");
  line.textContent = text;
  line.className = kind;
  line.hidden = !text;
}

/** Return a sentence from what the server answers. */
export function sentence(told) {
  const detail = (told && told.detail) || "This did not work. Try again.";
  const text = detail.charAt(0).toUpperCase() + detail.slice(1);
  return /[.!?]$/.test(text) ? text : text + ".";
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
    throw new Error("The server cannot be reached. Check your connection.");
  }
  const text = await response.text();
  let told = {};
  try {
    told = text ? JSON.parse(text) : {};
  } catch {
    told = {};
  }
  if (response.ok) return told;
  const error = new Error(sentence(told));
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
  if (error.name === "InvalidStateError") return "This device has a passkey for this account already.";
  return "The passkey was not used. Try again, or choose another way.";
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
