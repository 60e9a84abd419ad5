import { show, whenSubmitted, word } from "./forms.js";

async function signOut() {
  const response = await fetch("/session", { method: "DELETE" });
  if (!response.ok) throw new Error(word("failed"));
  location.replace("/sign-in");
}

whenSubmitted(document.getElementById("sign-out-form"), signOut);

// From the app itself, one tap is enough; a link on another site must not sign anybody out.
if (document.body.hasAttribute("data-own")) signOut().catch((error) => show(error.message));
