// The messages of avf_wire, in the namespace `Wire`. Written by `python tests/dashboard/lint/wire_types.py`: edit nothing here.

declare namespace Wire {
  type AlarmBy = "change" | "novelty" | "daily";
  type ClientMessage = Observe | Samples | Marker | KeepAlive | End;
  type Durability = "none" | "behind" | "group" | "wait";
  type Encoding = "s16" | "f32";
  type Modality = "music" | "audio" | "video" | "series";
  type Observation = (number | null)[] | null;
  type Precision = "float32" | "float64";
  type ServerMessage = Begin | Estimate | Summary | Ack | Marker | KeepAlive | Error | Ended | GoAway;

  interface Ack {
    type: "ack";
    epoch: number;
    seq: number;
    durable_seq: number | null;
  }

  interface Alarm {
    raised: boolean;
    p: number;
    high: boolean;
    statistic: number;
    threshold: number;
  }

  interface AlarmRaised {
    session: string;
    step: HistoryEntry;
  }

  interface Audio {
    rate: number;
    encoding?: "s16" | "f32";
    channels?: number;
  }

  interface Begin {
    type: "begin";
    session: Session;
    credit: number;
    next_sample: number | null;
  }

  interface Branch {
    seed?: number | null;
    iterations?: number | null;
    durability?: "none" | "behind" | "group" | "wait" | null;
  }

  interface CreateSession {
    model: string;
    seed?: number | null;
    iterations?: number | null;
    durability?: "none" | "behind" | "group" | "wait";
    audio?: Audio | null;
    deadline_s?: number | null;
    rate_hz?: number | null;
    particles?: number;
    lag?: number;
    prediction_samples?: number | null;
    quantiles?: number[] | null;
    point?: string | null;
    alarm_every?: number | null;
    alarm_by?: "change" | "novelty" | "daily";
  }

  interface End {
    type: "end";
  }

  interface Ended {
    type: "ended";
    next_seq: number;
    next_sample: number | null;
  }

  interface Error {
    type: "error";
    problem: Problem;
  }

  interface Estimate {
    type: "estimate";
    epoch: number;
    seq: number;
    free_energy: number;
    reconstruction: number;
    kl: number;
    free_energies: number[];
    iterations: number;
    prior: Moments;
    posterior: Moments;
    prediction: Moments;
    likelihood: Moments;
    durability: "none" | "behind" | "group" | "wait";
    surprise: number | null;
    durable_seq: number | null;
    observation?: (number | null)[] | null;
    inputs: number[] | null;
    time: number | null;
    evidence_bound: number | null;
    effective_sample_size: number | null;
    gradient_samples: number | null;
    prediction_at_prior_mean: Moments | null;
    prediction_quantiles: PredictiveQuantiles | null;
    smoothed: Smoothed | null;
    alarm: Alarm | null;
  }

  interface Forecast {
    session: string;
    epoch: number;
    seq: number;
    mean: number[][];
    deviation: number[][];
    levels: number[];
    quantiles: number[][][];
    paths: number[][][] | null;
  }

  interface ForecastRequest {
    horizon: number;
    paths?: number;
    quantiles?: number[];
    with_paths?: boolean;
    inputs?: number[][] | null;
    times?: number[] | null;
  }

  interface GoAway {
    type: "goaway";
  }

  interface History {
    session: string;
    entries: HistoryEntry[];
    cursor: string | null;
    more: boolean;
  }

  interface HistoryEntry {
    epoch: number;
    seq: number;
    at: number;
    free_energy: number;
    reconstruction: number;
    kl: number;
    prior_free_energy: number | null;
    iterations: number;
    surprise: number | null;
    time: number | null;
    evidence_bound: number | null;
    effective_sample_size: number | null;
    alarm: boolean | null;
  }

  interface KeepAlive {
    type: "keepalive";
  }

  interface Marker {
    type: "marker";
    text: string;
  }

  interface Missed {
    entries: HistoryEntry[];
    cut: boolean;
  }

  interface ModelInfo {
    name: string;
    digest: string;
    kind: string;
    inference: string;
    iterations: number;
    observation_size: number;
    latent_size: number;
    low: number | null;
    high: number | null;
    parameters: number;
    card: Record<string, unknown>;
    modality: "music" | "audio" | "video" | "series";
    shape: number[] | null;
    sample_rate: number | null;
    first_pitch: number | null;
    normal: Quantiles | null;
    center: number[] | null;
    scale: number[] | null;
    channels: string[] | null;
    inputs: string[] | null;
    input_size: number;
    calendar: string[];
    timed: boolean;
    usual_dt: number | null;
    precision: "float32" | "float64";
    points: Record<string, Point>;
    max_particles: number;
    max_lag: number;
    prediction_samples: number;
    quantiles: number[];
  }

  interface Models {
    models: ModelInfo[];
  }

  interface Moments {
    mean: number[];
    deviation: number[] | null;
  }

  interface Moved {
    session: string;
    steps: number;
    last: HistoryEntry;
  }

  interface Moves {
    sessions: Moved[];
  }

  interface Observe {
    type: "observe";
    seq: number;
    x: (number | null)[] | null;
    inputs?: number[] | null;
    time?: number | null;
  }

  interface Point {
    particles: number;
    iterations: number | null;
  }

  interface PredictiveQuantiles {
    levels: number[];
    values: number[][];
  }

  interface Problem {
    type: string;
    title: string;
    status: number;
    detail: string;
    session: string | null;
    seq: number | null;
    expected_seq: number | null;
    expected_epoch: number | null;
    expected_sample: number | null;
  }

  interface Quantiles {
    levels: number[];
    values: number[];
  }

  interface Samples {
    type: "samples";
    offset: number;
    s16?: string | null;
    f32?: number[] | null;
  }

  interface SamplesReply {
    session: string;
    epoch: number;
    next_seq: number;
    next_sample: number;
    estimates: Estimate[];
  }

  interface Session {
    id: string;
    model: string;
    model_digest: string;
    epoch: number;
    next_seq: number;
    seed: number;
    iterations: number;
    durability: "none" | "behind" | "group" | "wait";
    observation_size: number;
    latent_size: number;
    created_at: number;
    expires_in: number;
    audio: Audio | null;
    next_sample: number | null;
    input_size: number;
    timed: boolean;
    precision: "float32" | "float64";
    deadline_s: number | null;
    particles: number;
    lag: number;
    prediction_samples: number;
    quantiles: number[];
    alarm_every: number | null;
    alarm_by: "change" | "novelty" | "daily";
    channels: string[] | null;
    center: number[] | null;
    scale: number[] | null;
  }

  interface SessionSummary {
    session: Session;
    last: HistoryEntry | null;
    used_at: number;
  }

  interface Sessions {
    sessions: SessionSummary[];
    cursor: string | null;
  }

  interface Smoothed {
    seq: number;
    mean: number[];
    deviation: number[];
  }

  interface Status {
    version: string;
    uptime_s: number;
    stopping: boolean;
    device: string;
    models: string[];
    sessions: number;
    max_sessions: number;
    streams: number;
    watchers: number;
    steps_per_s: number;
    latency_p50_s: number | null;
    latency_p99_s: number | null;
    batch_rows: number | null;
    max_batch: number;
    queue: number;
    queue_limit: number;
    hot: number;
    store: StoreStatus;
    memory_bytes: number | null;
    load: number | null;
    cpus: number;
  }

  interface Steps {
    seq: number;
    observations: ((number | null)[] | null)[];
    epoch?: number | null;
    inputs?: number[][] | null;
    times?: (number | null)[] | null;
  }

  interface StepsReply {
    session: string;
    epoch: number;
    next_seq: number;
    estimates: Estimate[];
    durable_seq: number | null;
  }

  interface StoreStatus {
    ok: boolean;
    latency_s: number | null;
    detail: string | null;
  }

  interface Summary {
    type: "summary";
    epoch: number;
    seq: number;
    free_energy: number;
    reconstruction: number;
    kl: number;
    iterations: number;
    durability: "none" | "behind" | "group" | "wait";
    surprise: number | null;
    durable_seq: number | null;
    time: number | null;
    evidence_bound: number | null;
    effective_sample_size: number | null;
    gradient_samples: number | null;
    alarm: Alarm | null;
  }

  interface Token {
    token: string;
    expires_at: number;
    session: string | null;
    read_only: boolean;
  }

  interface TokenRequest {
    lifetime_s?: number | null;
    read_only?: boolean;
  }
}
