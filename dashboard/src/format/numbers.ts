/** Numbers for people: short to read, with the exact value always at hand. An absent value is a dash, zero is a value. */
import type { Exact } from "../api/types";

export const ABSENT = "–";
const MINUS = "−";
const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

/** Return the number nearest to an exact value; null when there is none. */
export function num(value: Exact | null | undefined): number | null {
  if (value === null || value === undefined || value === "") return null;
  const found = Number(value);
  return Number.isFinite(found) ? found : null;
}

/** Return a value with all its digits and no exponent: what is copied. */
export function exact(value: Exact | null | undefined): string {
  if (value === null || value === undefined) return "";
  const text = String(value);
  return /e/i.test(text) ? withoutExponent(text) : text;
}

/**
 * Return a price: two decimals from 1,000 on, at least four significant digits below. More than three zeros after the
 * point are counted instead of written: 0.0₈1234 is 0.0000000012...
 */
export function price(value: Exact | null | undefined): string {
  const found = num(value);
  if (found === null) return ABSENT;
  const size = Math.abs(found);
  if (size === 0) return "0";
  if (size >= 1000) return fixed(found, 2, 2);
  if (size >= 1) return fixed(found, 2, 4);
  const zeros = -Math.floor(Math.log10(size)) - 1;
  return zeros <= 3 ? fixed(found, 2, zeros + 4) : tiny(found);
}

/** Return how prices are written where neighbours must differ, as on an axis: to the digits of the smallest step. */
export function priceBy(tick: Exact | null | undefined): (value: number) => string {
  const step = num(tick);
  if (step === null || step <= 0) return price;
  const digits = Math.max(2, Math.ceil(-Math.log10(step) - 1e-9));
  return digits > 8 ? price : (value) => fixed(value, 2, digits);
}

/** Return a size with a letter for thousands, millions, billions and trillions: 1.21T. */
export function compact(value: Exact | null | undefined): string {
  const found = num(value);
  if (found === null) return ABSENT;
  const size = Math.abs(found);
  if (size > 0 && size < 1) return price(found);
  for (const [unit, letter] of UNITS) {
    if (size >= unit * 0.99995)
      return fixed(found / unit, size / unit >= 100 ? 1 : 2, size / unit >= 100 ? 1 : 2) + letter;
  }
  return fixed(found, 0, size >= 100 ? 0 : 2);
}

/** Return a size of storage in units of 1,024: 5.37 GiB. */
export function bytes(value: Exact | null | undefined): string {
  const found = num(value);
  if (found === null) return ABSENT;
  let [size, unit] = [Math.abs(found), 0];
  for (; size >= 1023.95 && unit < BYTES.length - 1; unit += 1) size /= 1024;
  return `${found < 0 ? MINUS : ""}${fixed(size, 0, unit === 0 || size >= 100 ? 0 : 1)} ${BYTES[unit] ?? "B"}`;
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const UNITS: [number, string][] = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
];

/** Return a whole number with its thousands apart. */
export function whole(value: Exact | null | undefined): string {
  const found = num(value);
  return found === null ? ABSENT : fixed(found, 0, 0);
}

/** Return percent with its sign: +1.20 %. `value` is in percent; rates of funding have more `digits`. */
export function percent(value: Exact | null | undefined, digits = 2): string {
  const found = num(value);
  if (found === null) return ABSENT;
  return `${signed(found, digits)} %`;
}

/** Return a number without a unit, with its sign: a score of +0.48. */
export function signed(value: Exact | null | undefined, digits = 2): string {
  const found = num(value);
  if (found === null) return ABSENT;
  const shown = fixed(Math.abs(found), digits, digits);
  const isZero = Number(shown.replaceAll(",", "")) === 0;
  return `${isZero ? "" : found < 0 ? MINUS : "+"}${shown}`;
}

/** Return a part of a whole, without a sign: 55.9 %. */
export function share(value: Exact | null | undefined, digits = 1): string {
  const found = num(value);
  return found === null ? ABSENT : `${fixed(found, digits, digits)} %`;
}

const FORMATS = new Map<string, Intl.NumberFormat>();

function fixed(value: number, least: number, most: number): string {
  const key = `${least} ${most}`;
  let format = FORMATS.get(key);
  if (format === undefined) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });
    FORMATS.set(key, format);
  }
  return format.format(value).replace("-", MINUS);
}

function tiny(value: number): string {
  const [digits = "0", exponent = "0"] = Math.abs(value).toExponential(3).split("e");
  const zeros = String(-Number(exponent) - 1);
  const counted = zeros.replace(/\d/g, (digit) => SUBSCRIPTS.charAt(Number(digit)));
  return `${value < 0 ? MINUS : ""}0.0${counted}${digits.replace(".", "").replace(/0+$/, "")}`;
}

function withoutExponent(text: string): string {
  const [mantissa = "0", power = "0"] = text.toLowerCase().split("e");
  const sign = mantissa.startsWith("-") ? "-" : "";
  const [before = "0", after = ""] = mantissa.replace("-", "").split(".");
  const place = before.length + Number(power);
  const digits = before + after;
  if (place <= 0) return `${sign}0.${"0".repeat(-place)}${digits}`;
  if (place >= digits.length) return sign + digits + "0".repeat(place - digits.length);
  return `${sign}${digits.slice(0, place)}.${digits.slice(place)}`;
}
