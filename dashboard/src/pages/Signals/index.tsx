/** What the analytics say: a view of each asset, the signals it follows from, how often they were right, and the portfolio. */
import type { PageProps } from "..";
import { BreadthCard } from "./Breadth";
import { Newest } from "./Newest";
import { Paper } from "./Paper";
import { Portfolio } from "./Portfolio";
import { Right } from "./Right";
import { Views } from "./Views";
import "./Signals.css";

export default function Signals({ route }: PageProps) {
  return (
    <>
      <Views opened={route.query.get("asset")} />
      <div className="grid signals-pair">
        <Newest />
        <Right />
      </div>
      <Portfolio wanted={route.query.get("portfolio")} />
      <div className="grid signals-pair">
        <Paper wanted={route.query.get("portfolio")} />
        <BreadthCard />
      </div>
    </>
  );
}
