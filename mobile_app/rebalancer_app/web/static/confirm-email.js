import { send, show, whenSubmitted, word } from "./forms.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
history.replaceState(null, "", location.pathname);

whenSubmitted(document.getElementById("verify-form"), async (form) => {
  await send("/api/users/email/verify", { token });
  form.hidden = true;
  show(word("email_confirmed"), "done");
});
