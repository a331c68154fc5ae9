/** A field whose words narrow what is shown. `what` names it, `told` says how much is left. */
export function Search({
  what,
  words,
  onChange,
  told,
}: {
  what: string;
  words: string;
  onChange: (words: string) => void;
  told: string;
}) {
  return (
    <div className="table-tools">
      <label className="search">
        <span className="hidden">Search {what}</span>
        <input type="search" placeholder="Search" value={words} onChange={(event) => onChange(event.target.value)} />
      </label>
      <span className="dim" role="status">
        {told}
      </span>
    </div>
  );
}
