// What a dashboard file may hold: Grafana's published types, with enums by their values, as JSON has them.
import type * as grafana from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts';
import type * as states from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts';
import type * as series from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts';

type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

// the package has no types of Prometheus queries and of what Prometheus adds to an annotation: these are ours
type Query = grafana.DataQuery & {
  expr: string; legendFormat?: string; instant?: boolean; range?: boolean; interval?: string;
  editorMode?: 'code' | 'builder'; format?: 'time_series' | 'table' | 'heatmap';
};
type Mark = Omit<grafana.AnnotationQuery, 'target'> & { target: Query; tagKeys?: string; titleFormat?: string };

type Source = grafana.FieldConfigSource;
type Shown<Kind extends string, Options, Custom> =
  Omit<grafana.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
    type: Kind; id: number; title: string; gridPos: grafana.GridPos; targets: Query[]; options: Options;
    fieldConfig: Omit<Source, 'defaults'> & {
      defaults: Omit<Source['defaults'], 'custom'> & { custom?: Partial<Custom> };
    };
  };

type AnyPanel =
  | Shown<'timeseries', series.Options, series.FieldConfig>
  | Shown<'stat', stat.Options, never>
  | Shown<'state-timeline', states.Options, states.FieldConfig>
  | Shown<'table', table.Options, table.FieldConfig>
  | Shown<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | grafana.RowPanel;

export type Checked = Plain<Omit<grafana.Dashboard, 'panels' | 'annotations'> & {
  uid: string; title: string; panels: AnyPanel[]; annotations: { list: Mark[] };
}>;
