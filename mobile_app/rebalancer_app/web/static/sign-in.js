import { getPasskey, next, passkeyFailure, passkeysWork, send, show, whenSubmitted } from "./forms.js";

const password = document.getElementById("password-form");
const factor = document.getElementById("factor-form");
const passkey = document.getElementById("passkey");
const factorPasskey = document.getElementById("factor-passkey");
let ticket = "";

document.getElementById("register").search = location.search;

function enter() {
  location.replace(next());
}

async function usePasskey(send_credential) {
  show("");
  try {
    await send_credential(await getPasskey(await send("/api/users/login/passkey/options")));
    enter();
  } catch (error) {
    show(passkeyFailure(error));
  }
}

if (passkeysWork) {
  passkey.hidden = false;
  passkey.addEventListener("click", () =>
    usePasskey((credential) => send("/session/in/passkey", { credential }))
  );
} else {
  password.querySelector("button").classList.remove("second");
}

document.getElementById("look-around").addEventListener("click", async (event) => {
  show("");
  event.target.disabled = true;
  try {
    await send("/session/in/guest");
    enter();
  } catch (error) {
    show(error.message);
    event.target.disabled = false;
  }
});

whenSubmitted(password, async (form) => {
  try {
    const { email, password } = form.elements;
    await send("/session/in/password", { email: email.value, password: password.value });
    enter();
  } catch (error) {
    if (!error.told || error.told.code !== "second_factor_required") throw error;
    ticket = error.told.ticket;
    password.hidden = passkey.hidden = document.getElementById("guest").hidden = true;
    factor.hidden = false;
    factorPasskey.hidden = !(passkeysWork && (error.told.methods || []).includes("passkey"));
    factor.elements.code.focus();
  }
});

whenSubmitted(factor, async (form) => {
  const typed = form.elements.code.value.trim();
  const proof = /^[0-9 ]{6,8}$/.test(typed) ? { code: typed } : { recovery_code: typed };
  await send("/session/in/second-factor", { ticket, ...proof });
  enter();
});

factorPasskey.addEventListener("click", () =>
  usePasskey((credential) => send("/session/in/second-factor", { ticket, credential }))
);
