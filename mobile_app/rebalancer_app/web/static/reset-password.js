import { send, show, whenSubmitted, word } from "./forms.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
history.replaceState(null, "", location.pathname);

whenSubmitted(document.getElementById("reset-form"), async (form) => {
  await send("/api/users/password/reset", { token, new_password: form.elements.password.value });
  form.hidden = true;
  show(word("password_reset"), "done");
});
