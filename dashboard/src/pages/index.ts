/** The pages, in the order of the navigation. A page is one folder here and one line below. */
import { lazy, type ComponentType } from "react";

import type { Route } from "../router";

export interface PageProps {
  route: Route;
}

export interface Page {
  /** First part of the address: #/markets. */
  path: string;
  title: string;
  view: ComponentType<PageProps>;
}

export const PAGES: Page[] = [
  { path: "markets", title: "Markets", view: lazy(() => import("./Markets")) },
  { path: "asset", title: "Asset", view: lazy(() => import("./Asset")) },
  { path: "compare", title: "Compare", view: lazy(() => import("./Compare")) },
  { path: "derivatives", title: "Derivatives", view: lazy(() => import("./Derivatives")) },
  { path: "signals", title: "Signals", view: lazy(() => import("./Signals")) },
  { path: "health", title: "Health", view: lazy(() => import("./Health")) },
];
