// The picture of a product: its image, else a drawn one, with the colour of its title and a pattern of
// its category.
const SVG = "http://www.w3.org/2000/svg";
const HUES = { red: 4, cherry: 350, pink: 335, rose: 340, purple: 275, lilac: 270, lavender: 262, blue: 222,
  navy: 228, turquoise: 182, green: 140, garden: 130, yellow: 48, gold: 44, cream: 42, ivory: 42, orange: 25,
  wooden: 30, wood: 30, brown: 24, chocolate: 20, christmas: 355, white: 215, silver: 215, black: 230 };

function number(text) {
  let hash = 2166136261;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return hash >>> 0;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

const PATTERNS = [
  (seed, fill) => Array.from({ length: 28 }, (_, i) => shape("circle",
    { cx: (i % 7) * 26 + (Math.floor(i / 7) % 2) * 13 + 4, cy: Math.floor(i / 7) * 26 + 12, r: 5 + seed % 3, fill })),
  (seed, fill) => Array.from({ length: 9 }, (_, i) => shape("rect",
    { x: i * 24 - 30, y: -20, width: 10, height: 150, fill, transform: `rotate(${18 + seed % 20} 80 50)` })),
  (seed, fill) => Array.from({ length: 4 }, (_, i) => shape("circle",
    { cx: 60 + seed % 60, cy: 104, r: 26 + i * 26, fill: "none", stroke: fill, "stroke-width": 11 })),
  (seed, fill) => Array.from({ length: 15 }, (_, i) => shape("path",
    { d: "M0 14C0 4 7 0 14 0 14 10 10 14 0 14z", fill, transform: `translate(${(i % 5) * 34 + (Math.floor(i / 5) % 2) * 15} ${Math.floor(i / 5) * 34 + 8}) rotate(${(seed + i * 40) % 90} 7 7)` })),
  (seed, fill) => Array.from({ length: 4 }, (_, i) => shape("path",
    { d: `M-10 ${18 + i * 24}q22.5 ${-20 - seed % 8} 45 0t45 0t45 0t45 0`, fill: "none", stroke: fill, "stroke-width": 8, "stroke-linecap": "round" })),
];

function drawn(item) {
  const category = number(item.categories.join() || item.title.split(" ").pop());
  const word = item.title.toLowerCase().split(/[^a-z]+/).find((one) => one in HUES);
  const hue = word ? HUES[word] : category % 360;
  const tint = ["white", "silver", "black"].includes(word) ? 12 : 48;
  const picture = shape("svg", { viewBox: "0 0 160 100", class: "tile", "aria-hidden": "true", preserveAspectRatio: "xMidYMid slice" });
  picture.append(shape("rect", { width: 160, height: 100, fill: `hsl(${hue} ${tint}% 89%)` }),
    ...PATTERNS[category % PATTERNS.length](number(item.item_id), `hsl(${hue} ${tint}% 78%)`));
  return picture;
}

// The address if a page may lead to it; the endpoint gives out no other one, so this is the second lock.
export function webAddress(text) {
  try {
    return text && ["https:", "http:"].includes(new URL(text, location.href).protocol) ? text : null;
  } catch {
    return null;
  }
}

export function tile(item) {
  const image = webAddress(item.image);
  if (!image) return drawn(item);
  const shown = document.createElement("img");
  shown.className = "tile photo";
  shown.alt = ""; // its name stands below it
  shown.loading = "lazy";
  shown.referrerPolicy = "no-referrer";
  shown.addEventListener("error", () => shown.replaceWith(drawn(item)));
  shown.src = image;
  return shown;
}
