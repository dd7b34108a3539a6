// The words of the page's own that many of its scripts share; the messages are in wire.d.ts, which is written by a script.

type Span = import("../../../clients/avf_dashboard/page/span.js").Span;
type Trace = import("../../../clients/avf_dashboard/page/trace.js").Trace;
type Plot = import("../../../clients/avf_dashboard/page/charts/axes.js").Plot;
type Cells = import("../../../clients/avf_dashboard/page/charts/cells.js").Cells;
type Item = import("../../../clients/avf_dashboard/page/fleet.js").Item;
type Streamer = import("../../../clients/avf_dashboard/page/streamer.js").Streamer;
type Running = import("../../../clients/avf_dashboard/page/running.js").Running;

/** Mean and deviation of a latent, by dimension. */
interface Belief {
  mean: Float32Array;
  deviation: Float32Array;
}

/** Mean and deviation of an observation, by dimension; no deviation where these are probabilities. */
interface Expected {
  mean: Float32Array;
  deviation: Float32Array | null;
}

/** Quantiles of the predictive distribution: of each level, ascending, by dimension. */
interface Quantiles {
  levels: number[];
  values: Float32Array[];
}

/** All of an estimate. `observation` is null where all of it was missing, and absent where it was not asked for. */
interface Full {
  prior: Belief;
  posterior: Belief;
  prediction: Expected;
  likelihood: Expected;
  quantiles: Quantiles | null;
  energies: number[];
  observation: Float32Array | null | undefined;
  inputs: Float32Array | null;
}

/** The figures of a step, and its estimate where that is here. */
interface Entry {
  epoch: number;
  seq: number;
  full: Full | null;
  missing?: boolean;
  at: number;
  F: number;
  reconstruction: number;
  kl: number;
  prior: number;
  iterations: number;
  surprise: number | null;
  durability: Wire.Durability | undefined;
  bound: number;
  effective: number;
  time: number;
}

/** A step whose estimate is here. */
type Whole = Entry & { full: Full };

/** A step whose estimate is here, with what was observed. */
type Heard = Entry & { full: Full & { observation: Float32Array } };

/** Which expectation is drawn: that before the observation, or that after it. */
type Shown = "prediction" | "likelihood";

/** What a server says of a step: an entry of a history, or an estimate and when it was seen. */
type Said = Wire.HistoryEntry | (Wire.Estimate & { at?: number });

/** Where a step stands in the order of its session. */
interface Place {
  epoch: number;
  seq: number;
}

/** What is known of a session that is, or was, looked at. */
interface Known {
  trace: Trace;
  session: Wire.Session | null;
  ended: boolean;
  model: Wire.ModelInfo | null;
}

/** What server-sent events say: of one session, and of all of whoever looks. */
interface Events {
  estimate: Wire.Estimate;
  history: Wire.Missed;
  reset: { epoch: number };
  end: unknown;
  steps: Wire.Moves;
  opened: Wire.Session;
  ended: { session: string };
  expired: unknown;
}
type Happened = { [Name in keyof Events]: { name: Name; data: Events[Name] } }[keyof Events];

/** How a connection is. */
type Link = "live" | "lost" | "gone" | "connecting" | "paused";

/** What outlives a view. */
interface Shared {
  traces: Map<string, Known>;
  running: Running;
  models: Map<string, Wire.ModelInfo> | null;
  model(name: string): Promise<Wire.ModelInfo | undefined>;
  state(name: Link): void;
}

/** What is shown for an address. */
interface View {
  name: string;
  title: string;
  root: HTMLElement;
  open?(): unknown;
  close(): void;
  repaint?(): void;
}

type Context = CanvasRenderingContext2D;

/** Draws in CSS pixels; true asks for another frame. */
type Draw = (context: Context, width: number, height: number) => boolean;

/** What `Figure` needs of a chart: docs/howto/add_a_chart.md. */
interface Chart {
  draw: Draw;
  describe(): string;
  heads: string[];
  rows(entries: Entry[]): string[][];
  modes?: [value: string, text: string][];
  pick?(value: string): void;
  read?(entry: Entry): string;
}

/** What a session's stream is fed with: observations, or samples. */
interface Feed {
  total: number | null;
  pace: number;
  size?: number;
  ended?: boolean;
  oldest?: number;
  due(seconds: number): number;
  messages(from: number, to: number): (Wire.Observe | Wire.Samples)[];
  push?(piece: Float32Array): void;
}

/** A note of a piece, in quarter notes. */
interface Note {
  pitch: number;
  start: number;
  end: number;
}

type Colour = [red: number, green: number, blue: number];
type Query = Record<string, string | number | boolean | null | undefined>;
type Child = Node | string | null | undefined | (Node | string)[];

/** Attributes of an element, and its listeners by the names of their events after `on`. */
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: any) => unknown)>;

/** What is asked of the server beside the address. `key` stands in for the token. */
interface Asked {
  method?: string;
  body?: object;
  query?: Query;
  signal?: AbortSignal;
  headers?: Record<string, string>;
  key?: string;
}

/** Asks the server, as api.js does. */
type Requests = typeof import("../../../clients/avf_dashboard/page/api.js").request;

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: typeof AudioWorkletProcessor): void;
