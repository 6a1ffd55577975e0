/** The ten pages: one table for the sidebar, the palette, the shortcuts and the router. */
import {
  BookOpenText,
  ChartNoAxesCombined,
  Columns2,
  Database,
  FlaskConical,
  House,
  ListVideo,
  MessagesSquare,
  Package,
  Settings
} from '@lucide/svelte'
import type { Component } from 'svelte'

export type PageName =
  'home' | 'train' | 'runs' | 'compare' | 'evaluate' | 'models' | 'datasets' | 'play' | 'reward' | 'settings'

export type PageEntry = {
  readonly name: PageName
  readonly title: string
  readonly group: '' | 'Work' | 'Material' | 'Look closer' | 'Machine'
  /** Pressed after `g`. */
  readonly key: string
  readonly icon: typeof House
  /** What is there, for the palette and the tooltip. */
  readonly about: string
}

export const PAGES: readonly PageEntry[] = [
  { name: 'home', title: 'Home', group: '', key: 'h', icon: House, about: 'What runs, what waits, what finished' },
  { name: 'train', title: 'Train', group: 'Work', key: 't', icon: FlaskConical, about: 'Write a recipe and start it' },
  { name: 'runs', title: 'Runs', group: 'Work', key: 'r', icon: ListVideo, about: 'Every run, live and finished' },
  { name: 'compare', title: 'Compare', group: 'Work', key: 'c', icon: Columns2, about: 'Runs side by side' },
  { name: 'evaluate', title: 'Evaluate', group: 'Work', key: 'e', icon: ChartNoAxesCombined, about: 'Repeated measurements and what they say' }, // prettier-ignore
  { name: 'models', title: 'Models', group: 'Material', key: 'm', icon: Package, about: 'Bases and adapters on this machine' }, // prettier-ignore
  { name: 'datasets', title: 'Datasets', group: 'Material', key: 'd', icon: Database, about: 'Traces and tasks' },
  { name: 'play', title: 'Playground', group: 'Look closer', key: 'p', icon: MessagesSquare, about: 'Ask policies, watch them think' }, // prettier-ignore
  { name: 'reward', title: 'Reward', group: 'Look closer', key: 'w', icon: BookOpenText, about: 'A completion taken apart' }, // prettier-ignore
  { name: 'settings', title: 'Settings', group: 'Machine', key: 's', icon: Settings, about: 'Workspace, device, self-test, logs' } // prettier-ignore
]

const found = import.meta.glob<{ default: Component }>('../pages/*/Page.svelte')

/** Loads a page's component, or undefined where there is none of that name. */
export const loadPage = (name: string): Promise<{ default: Component }> | undefined =>
  found[`../pages/${name}/Page.svelte`]?.()
