import { createPasskey, passkeyFailure, send, showCodes, whenSubmitted } from "./forms.js";

whenSubmitted(document.getElementById("passkey-form"), async (form) => {
  try {
    const credential = await createPasskey(await send("/session/own/passkey-options"));
    const told = await send("/session/own/passkey", { name: form.elements.name.value, credential });
    if (told.recovery_codes && told.recovery_codes.length) await showCodes(told.recovery_codes);
    location.replace("/settings");
  } catch (error) {
    if (error.told && error.told.code === "reauthentication_required") {
      location.replace("/confirm?next=/passkey");
      return;
    }
    throw new Error(passkeyFailure(error));
  }
});
