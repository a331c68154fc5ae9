import { useId } from "react";

export interface Option<T extends string> {
  value: T;
  label: string;
  title?: string;
  disabled?: boolean;
}

/** One of a few, as a row of radio buttons: arrow keys move, the name is read out. */
export function Choice<T extends string>({
  name,
  options,
  value,
  onChange,
}: {
  name: string;
  options: Option<T>[];
  value: T;
  onChange: (value: T) => void;
}) {
  const group = useId();
  return (
    <fieldset className="choice">
      <legend className="hidden">{name}</legend>
      {options.map((option) => (
        <label key={option.value} title={option.title} className={option.value === value ? "chosen" : ""}>
          <input
            type="radio"
            name={group}
            value={option.value}
            checked={option.value === value}
            disabled={option.disabled ?? false}
            onChange={() => onChange(option.value)}
          />
          <span>{option.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Any of a few, as a row of check boxes. */
export function Choices<T extends string>({
  name,
  options,
  values,
  onChange,
}: {
  name: string;
  options: Option<T>[];
  values: T[];
  onChange: (values: T[]) => void;
}) {
  return (
    <fieldset className="choice">
      <legend className="hidden">{name}</legend>
      {options.map((option) => (
        <label key={option.value} title={option.title} className={values.includes(option.value) ? "chosen" : ""}>
          <input
            type="checkbox"
            checked={values.includes(option.value)}
            disabled={option.disabled ?? false}
            onChange={(event) =>
              onChange(event.target.checked ? [...values, option.value] : values.filter((one) => one !== option.value))
            }
          />
          <span>{option.label}</span>
        </label>
      ))}
    </fieldset>
  );
}
