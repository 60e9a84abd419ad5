import { send, show, whenSubmitted } from "./forms.js";

whenSubmitted(document.getElementById("forgotten-form"), async (form) => {
  await send("/api/users/password/forgotten", { email: form.elements.email.value });
  form.hidden = true;
  show("If this address has an account, a mail is on its way.", "done");
});
