// Two users with least privilege in MongoDB: rebalancer_owner prepares collections, their schemas
// and indexes (`rebalancer db upgrade`); rebalancer_app, the user of the API and the workers, reads
// and writes documents, and can neither create, change nor drop a collection. An administrator runs
// it with mongosh, with both passwords in the environment; it may be repeated.
const name = process.env.MONGO_DATABASE || "rebalancer";
const admin = db.getSiblingDB("admin");

const documents = ["find", "insert", "update", "remove", "listCollections", "listIndexes"];
const collections = ["collMod", "createCollection", "createIndex", "dropIndex"];

for (const [user, actions, password] of [
  ["rebalancer_owner", [...documents, ...collections], process.env.MONGO_OWNER_PASSWORD],
  ["rebalancer_app", documents, process.env.MONGO_APP_PASSWORD],
]) {
  if (!password) throw new Error(`the password of ${user} is missing in the environment`);
  const role = { privileges: [{ resource: { db: name, collection: "" }, actions }], roles: [] };
  if (admin.getRole(user)) admin.updateRole(user, role);
  else admin.createRole({ role: user, ...role });
  const account = { pwd: password, roles: [{ role: user, db: "admin" }] };
  if (admin.getUser(user)) admin.updateUser(user, account);
  else admin.createUser({ user, ...account });
}
