/** Return the path of a line through values, scaled into a box; a null lifts the pen. */
export function points(values: (number | null)[], width: number, height: number, margin: number): string {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const span = high - low || 1;
  const step = values.length > 1 ? (width - 2 * margin) / (values.length - 1) : 0;
  let pen = "M";
  let path = "";
  values.forEach((value, at) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const y = high === low ? height / 2 : height - margin - ((value - low) / span) * (height - 2 * margin);
    path += `${pen}${(margin + at * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}
