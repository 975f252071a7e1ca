import { connect, mergeFields } from "/tidemark.js";

const sync = connect({ url: "", space: "gallery-form" });
const bookings = sync.collection("bookings");
const [offline, form, template, output] = document.querySelector("#app").children;
offline.onchange = ({ target }) => (target.checked ? sync.pause() : sync.resume());
let chosen = {}; // field in dispute -> what it is to be

const fields = [...form.elements].map((input) => {
  const clash = template.content.firstElementChild.cloneNode(true);
  const [theirs, mineButton, theirsButton] = clash.querySelectorAll("b, button");
  input.parentElement.after(clash);
  input.onchange = () => bookings.merge("july", { [input.name]: input.value });
  mineButton.onclick = () => choose(input.name, "mine");
  theirsButton.onclick = () => choose(input.name, "theirs");
  return { input, clash, theirs };
});

function choose(field, side) {
  const [problem] = sync.problems;
  chosen[field] = problem[side][field];
  if (!problem.fields.every((name) => name in chosen)) return show();
  problem.merge({ ...mergeFields(problem.base, problem.mine, problem.theirs), ...chosen });
  chosen = {};
}

function show() {
  const [problem] = sync.problems;
  const { base, mine, theirs } = problem ?? (chosen = {}); // settled, here or in another tab
  const data = problem ? mergeFields(base, mine, theirs) : bookings.get("july")?.data;
  for (const field of fields) {
    const { name } = field.input;
    if (field.input !== document.activeElement) field.input.value = data?.[name] ?? "";
    field.clash.hidden = !problem?.fields.includes(name) || name in chosen;
    field.theirs.textContent = theirs?.[name] ?? "";
  }
  const { pending } = sync.status;
  output.value = problem ? "Not settled yet" : pending ? `${pending} to send` : "All saved";
}
for (const part of [bookings, sync.problems, sync.status]) part.subscribe(show);
