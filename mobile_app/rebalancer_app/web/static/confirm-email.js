import { send, show, whenSubmitted } from "./forms.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
history.replaceState(null, "", location.pathname);

whenSubmitted(document.getElementById("verify-form"), async (form) => {
  await send("/api/users/email/verify", { token });
  form.hidden = true;
  show("The address is confirmed. You can sign in.", "done");
});
