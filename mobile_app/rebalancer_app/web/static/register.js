import {
  createPasskey, next, passkeyFailure, passkeysWork, send, show, showCodes, whenSubmitted, word,
} from "./forms.js";

const form = document.getElementById("register-form");
const passkey = document.getElementById("passkey");
const details = document.getElementById("with-password");

if (passkeysWork) {
  passkey.hidden = false;
} else {
  details.open = true;
}

passkey.addEventListener("click", async () => {
  show("");
  passkey.disabled = true;
  try {
    const { email, name } = form.elements;
    const asked = { email: email.value, name: name.value };
    const options = await send("/api/users/register/passkey/options", asked);
    const credential = await createPasskey(options);
    const told = await send("/session/in/new-passkey", { credential });
    if (told.recovery_codes) await showCodes(told.recovery_codes);
    location.replace(next());
  } catch (error) {
    show(passkeyFailure(error));
  }
  passkey.disabled = false;
});

whenSubmitted(form, async () => {
  const { email, name, password } = form.elements;
  const account = { email: email.value, password: password.value };
  const told = await send("/api/users/register", { ...account, name: name.value });
  if (told.status === "check_mail") {
    form.hidden = true;
    show(word("check_mail"), "done");
    return;
  }
  await send("/session/in/password", account);
  location.replace(next());
});
