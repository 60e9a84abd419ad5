"use strict";

const form = document.getElementById("sign-in");
const problem = document.getElementById("problem");
const button = form.querySelector("button[type=submit]");

/** Return the path to open afterwards; only one of this site. */
function next() {
  const wanted = new URLSearchParams(location.search).get("next") || "/";
  return wanted.startsWith("/") && !wanted.startsWith("//") && !wanted.includes("\\") ? wanted : "/";
}

function show(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  show("");
  button.disabled = true;
  try {
    const response = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email: form.email.value, password: form.password.value }),
    });
    if (response.ok) {
      location.replace(next());
      return;
    }
    const told = await response.json();
    const detail = told.detail || "This did not work; try again.";
    show(detail.charAt(0).toUpperCase() + detail.slice(1) + ".");
  } catch {
    show("The server cannot be reached. Check your connection.");
  }
  button.disabled = false;
});
