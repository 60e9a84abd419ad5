import { getPasskey, next, passkeyFailure, passkeysWork, send, show, whenSubmitted } from "./forms.js";

const passkey = document.getElementById("passkey");

if (passkeysWork) {
  passkey.hidden = false;
  passkey.addEventListener("click", async () => {
    show("");
    try {
      const credential = await getPasskey(await send("/api/users/login/passkey/options"));
      await send("/session/own/confirm", { credential });
      location.replace(next());
    } catch (error) {
      show(passkeyFailure(error));
    }
  });
}

whenSubmitted(document.getElementById("confirm-form"), async (form) => {
  const { password, code } = form.elements;
  const proof = code.value.trim() ? { code: code.value.trim() } : {};
  await send("/session/own/confirm", { password: password.value, ...proof });
  location.replace(next());
});
