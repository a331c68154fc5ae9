import { Component, Suspense, useEffect, type ReactNode } from "react";

import { PAGES } from "./pages";
import { href, useRoute } from "./router";
import { Shell } from "./ui/Shell";
import { Empty, Loading } from "./ui/State";

export function App() {
  const route = useRoute();
  const page = PAGES.find((one) => one.path === (route.page === "" ? PAGES[0]?.path : route.page));
  const title = page?.title ?? "No such page";
  useEffect(() => {
    document.title = `${title} - Crypto Data Collector`;
  }, [title]);
  return (
    <Shell current={page?.path ?? ""} title={title}>
      <Boundary key={page?.path ?? ""}>
        <Suspense fallback={<Loading what="page" />}>
          {page === undefined ? (
            <Empty>
              There is no page at this address. <a href={href("markets")}>Go to the markets</a>
            </Empty>
          ) : (
            <page.view route={route} />
          )}
        </Suspense>
      </Boundary>
    </Shell>
  );
}

/** Keeps a defect of one page from taking the navigation with it. */
class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <div className="state state-error" role="alert">
        <p>This page failed: {error.message}</p>
        <button type="button" onClick={() => window.location.reload()}>
          Load it again
        </button>
      </div>
    );
  }
}
