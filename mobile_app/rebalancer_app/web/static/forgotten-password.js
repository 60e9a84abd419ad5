import { send, show, whenSubmitted, word } from "./forms.js";

whenSubmitted(document.getElementById("forgotten-form"), async (form) => {
  await send("/api/users/password/forgotten", { email: form.elements.email.value });
  form.hidden = true;
  show(word("mail_sent"), "done");
});
