/**
 * A gateway with lines on which scenarios run: each line is a number, its agent and the ports of the agent's
 * endpoints. `call` puts a SIPp on both ends and waits for the call records.
 */
import { afterAll, beforeAll } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { Gateway, type GatewayOptions } from './gateway.js';
import { freePorts } from './ports.js';
import { Sipp, type SippOptions, type SippResult } from './sipp.js';

export interface LineOptions {
  /** How many endpoints the agent has, tried in this order. Default 1. */
  readonly endpoints?: number | undefined;
  /** Transport towards the agent. Default UDP. */
  readonly transport?: 'udp' | 'tcp' | 'tls' | undefined;
  /** Host of the endpoints. Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** More fields of the agent. */
  readonly agent?: Readonly<Record<string, unknown>> | undefined;
}

export interface Line {
  readonly number: string;
  readonly agentId: string;
  readonly ports: readonly number[];
  readonly transport: 'udp' | 'tcp' | 'tls';
}

export interface CallOptions<Name extends string> {
  readonly line: Name;
  /** `answered` for uac/answered. */
  readonly caller: string;
  /** `answered` for uas/answered; several for the endpoints in order; none: nobody is there. */
  readonly agent?: string | readonly string[] | undefined;
  /** Default 1. */
  readonly calls?: number | undefined;
  readonly callerOptions?: Partial<SippOptions> | undefined;
  readonly agentOptions?: Partial<SippOptions> | undefined;
}

export interface CallResult {
  readonly callerSide: Sipp;
  readonly agentSides: readonly Sipp[];
  readonly caller: SippResult;
  readonly agents: readonly SippResult[];
  /** Of these calls only. */
  readonly records: readonly CallRecord[];
}

export class Switchboard<Name extends string> {
  readonly gateway: Gateway;
  readonly lines: Readonly<Record<Name, Line>>;

  private constructor(gateway: Gateway, lines: Readonly<Record<Name, Line>>) {
    this.gateway = gateway;
    this.lines = lines;
  }

  static async open<Name extends string>(
    lineOptions: Readonly<Record<Name, LineOptions>>,
    options: GatewayOptions = {},
  ): Promise<Switchboard<Name>> {
    const lines = {} as Record<Name, Line>;
    const agents: Record<string, unknown>[] = [];
    const phoneNumbers: Record<string, unknown>[] = [];
    let next = 14155550100;
    for (const [name, { endpoints = 1, transport = 'udp', host = '127.0.0.1', agent = {} }] of Object.entries(
      lineOptions,
    ) as [Name, LineOptions][]) {
      const line: Line = {
        number: `+${next++}`,
        agentId: name,
        ports: await freePorts(endpoints),
        transport,
      };
      lines[name] = line;
      phoneNumbers.push({ phoneNumber: line.number, credentialsId: 'carrier', inboundAgentId: name });
      agents.push({
        id: name,
        name,
        endpoints: line.ports.map((port, i) => ({
          uri: `sip:agent@${host}:${port}${transport === 'udp' ? '' : `;transport=${transport}`}`,
          priority: i + 1,
        })),
        ...agent,
      });
    }
    const gateway = await Gateway.start({
      ...options,
      config: {
        sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
        phoneNumbers,
        agents,
        ...options.config,
      },
    });
    return new Switchboard(gateway, lines);
  }

  /**
   * Runs calls to their end. Throws with SIPp's own account when a caller or an agent is not content.
   */
  async call(options: CallOptions<Name>): Promise<CallResult> {
    const line = this.lines[options.line];
    const calls = options.calls ?? 1;
    const scenarios = typeof options.agent === 'string' ? [options.agent] : (options.agent ?? []);
    const agentSides = await Promise.all(
      scenarios.map((scenario, i) =>
        Sipp.start({
          scenario: `uas/${scenario}`,
          port: line.ports[i],
          calls,
          transport: line.transport === 'tcp' ? 't1' : 'u1',
          ...options.agentOptions,
        }),
      ),
    );
    const callerSide = await Sipp.start({
      scenario: `uac/${options.caller}`,
      to: this.gateway.port,
      calls,
      service: line.number,
      ...options.callerOptions,
    });
    const sides = [callerSide, ...agentSides];
    const [caller, ...agents] = await Promise.all(sides.map((side) => side.succeed(calls))).catch(
      async (error: unknown) => {
        // When one side has failed the other may wait for ever.
        await Promise.all(sides.map((side) => side.stop()));
        throw error;
      },
    );
    if (caller === undefined) throw new Error('Without a caller there is no call.');
    const records = await this.gateway.waitForRecords(calls, ({ callId }) =>
      callId.endsWith(callerSide.callIdEnd),
    );
    return { callerSide, agentSides, caller, agents, records };
  }

  async close(): Promise<void> {
    await this.gateway.stop('SIGTERM');
  }
}

export interface SharedSwitchboard<Name extends string> {
  readonly gateway: Gateway;
  readonly lines: Readonly<Record<Name, Line>>;
  call(options: CallOptions<Name>): Promise<CallResult>;
}

/**
 * One switchboard for all tests of a file. It closes after the last one, and fails the file when calls, transactions,
 * dialogs or timers are left after the time that they may take.
 * @param leave what must end before nothing can be left
 */
export function useSwitchboard<Name extends string>(
  lines: Readonly<Record<Name, LineOptions>>,
  options: GatewayOptions = {},
  leave: () => Promise<void> = () => Promise.resolve(),
): SharedSwitchboard<Name> {
  let board: Switchboard<Name> | undefined;
  const opened = (): Switchboard<Name> => {
    if (board === undefined) throw new Error('The switchboard opens before the first test.');
    return board;
  };
  beforeAll(async () => {
    board = await Switchboard.open(lines, options);
  });
  afterAll(async () => {
    await leave();
    if (board === undefined) return;
    try {
      await board.gateway.idle();
    } finally {
      await board.close();
    }
  });
  return {
    get gateway() {
      return opened().gateway;
    },
    get lines() {
      return opened().lines;
    },
    call: (call) => opened().call(call),
  };
}
