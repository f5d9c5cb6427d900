import { describe, expect, it, vi } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import { Directory } from '#directory/directory.js';
import { emptySnapshot } from '#directory/draft.js';
import { type Described, directoryInput, snapshotOf } from '../../kit/directory.js';

const carrier = (id: string, allowedAddresses: string[] = ['192.0.2.0/24'], more: object = {}) => ({
  id,
  server: 'sip.example.com',
  allowedAddresses,
  ...more,
});

function faultsOf(described: Described) {
  const compiled = compileSnapshot(directoryInput(described), 1);
  if (compiled.kind === 'snapshot') throw new Error('it compiled');
  return compiled.faults.map((fault) => ({ ...fault, path: fault.path.join('.') }));
}

describe('a snapshot', () => {
  const snapshot = snapshotOf({
    sipCredentials: [
      carrier('wide', ['192.0.2.0/24', '2001:db8::/32']),
      carrier('narrow', ['192.0.2.7'], { country: 'GB' }),
      { id: 'by-server', server: '198.51.100.1:5080' },
      { id: 'by-name', server: 'sip.example.com' },
    ],
    phoneNumbers: [
      { phoneNumber: '+14155550100', credentialsId: 'wide', inboundAgentId: 'sales' },
      { id: 'gb', phoneNumber: '020 7123 4567', credentialsId: 'narrow' },
      { id: 'twin', phoneNumber: '+14155550100', credentialsId: 'by-server' },
    ],
    agents: [
      {
        id: 'sales',
        endpoints: [
          { uri: 'sip:b@127.0.0.1', priority: 2 },
          { uri: 'sip:a@127.0.0.1', priority: 1 },
        ],
        outboundNumberId: '020 7123 4567',
      },
    ],
  });

  it('finds trunks by address, most specific block first', () => {
    const ids = (address: string) => snapshot.trunksBySource(address).map((trunk) => trunk.id);
    expect(ids('192.0.2.7')).toEqual(['narrow', 'wide']);
    expect(ids('192.0.2.8')).toEqual(['wide']);
    expect(ids('2001:db8:1::1')).toEqual(['wide']);
    expect(ids('203.0.113.1')).toEqual([]);
    // A second look-up is answered from memory.
    expect(ids('192.0.2.7')).toEqual(['narrow', 'wide']);
    expect(snapshot.isKnownSource('192.0.2.8')).toBe(true);
    expect(snapshot.isKnownSource('203.0.113.1')).toBe(false);
  });

  it('takes the address of the server as the source of calls when none is given', () => {
    expect(snapshot.trunksBySource('198.51.100.1').map((trunk) => trunk.id)).toEqual(['by-server']);
    expect(snapshot.trunk('by-name')?.allowedAddresses).toEqual([]);
  });

  it('finds numbers per trunk in every spelling', () => {
    expect(snapshot.number('wide', '+14155550100')?.inboundAgentId).toBe('sales');
    expect(snapshot.number('wide', '14155550100')?.inboundAgentId).toBe('sales');
    expect(snapshot.number('narrow', '+442071234567')?.id).toBe('gb');
    expect(snapshot.number('narrow', '+14155550100')).toBeUndefined();
    expect(snapshot.number('nobody', '+14155550100')).toBeUndefined();
    expect(snapshot.numbersAnywhere('+14155550100').map((number) => number.credentialsId)).toEqual([
      'wide',
      'by-server',
    ]);
    expect(snapshot.numberById('twin')?.credentialsId).toBe('by-server');
    expect(snapshot.numberById('gb')?.normalised).toBe('+442071234567');
  });

  it('sorts endpoints and resolves the outbound number', () => {
    const agent = snapshot.agent('sales');
    expect(agent?.endpoints.map((endpoint) => endpoint.uri)).toEqual(['sip:a@127.0.0.1', 'sip:b@127.0.0.1']);
    expect(agent?.outboundNumberId).toBe('gb');
    expect([snapshot.trunkCount, snapshot.numberCount, snapshot.agentCount]).toEqual([4, 3, 1]);
    expect([...snapshot.trunks()]).toHaveLength(4);
    expect([...snapshot.numbers()]).toHaveLength(3);
    expect([...snapshot.agents()]).toHaveLength(1);
  });
});

describe('what is refused', () => {
  it('is told all at once', () => {
    const faults = faultsOf({
      sipCredentials: [carrier('carrier-a'), carrier('carrier-a')],
      phoneNumbers: [
        { phoneNumber: '+1', credentialsId: 'carier-a' },
        { phoneNumber: '+2', credentialsId: 'carrier-a', inboundAgentId: 'slaes', transferTrunkId: 'x' },
      ],
      agents: [{ id: 'sales' }, { id: 'sales' }, { id: 'lost', outboundNumberId: '+3' }],
    });
    expect(faults).toEqual([
      {
        path: 'sipCredentials.1.id',
        message: 'is taken already: carrier-a',
        hint: 'ids must differ: rename one',
      },
      {
        path: 'phoneNumbers.0.credentialsId',
        message: 'names no trunk: carier-a',
        hint: 'did you mean carrier-a?',
      },
      {
        path: 'phoneNumbers.1.inboundAgentId',
        message: 'names no agent: slaes',
        hint: 'did you mean sales?',
      },
      { path: 'phoneNumbers.1.transferTrunkId', message: 'names no trunk: x', hint: undefined },
      { path: 'agents.1.id', message: 'is taken already: sales', hint: 'ids must differ: rename one' },
      { path: 'agents.2.outboundNumberId', message: 'names no phone number: +3', hint: 'did you mean +2?' },
    ]);
  });

  it('is one number in two spellings on one trunk', () => {
    const faults = faultsOf({
      sipCredentials: [carrier('a', [], { country: 'US' })],
      phoneNumbers: [
        { phoneNumber: '+14155550100', credentialsId: 'a' },
        { phoneNumber: '(415) 555-0100', credentialsId: 'a', id: 'other' },
      ],
    });
    expect(faults).toMatchObject([{ path: 'phoneNumbers.1.phoneNumber' }]);
    expect(faults[0]!.message).toContain('on trunk a already');
  });

  it('is the same default id on two trunks, with the way out', () => {
    const phoneNumbers = [
      { phoneNumber: '+14155550100', credentialsId: 'a' },
      { phoneNumber: '+14155550100', credentialsId: 'b' },
    ];
    const sipCredentials = [carrier('a', ['192.0.2.1']), carrier('b', ['192.0.2.2'])];
    expect(faultsOf({ sipCredentials, phoneNumbers })).toMatchObject([
      { path: 'phoneNumbers.1.id', hint: expect.stringContaining('give this one an `id`') },
    ]);
    const named = snapshotOf({
      sipCredentials,
      phoneNumbers: [phoneNumbers[0]!, { ...phoneNumbers[1]!, id: 'b-1' }],
    });
    expect(named.number('b', '+14155550100')?.id).toBe('b-1');
  });

  it('is one number on two trunks that share a block', () => {
    const phoneNumbers = [
      { phoneNumber: '+14155550100', credentialsId: 'a' },
      { id: 'twin', phoneNumber: '14155550100', credentialsId: 'b' },
    ];
    const shared = [carrier('a'), carrier('b')];
    const faults = faultsOf({ sipCredentials: shared, phoneNumbers });
    expect(faults).toMatchObject([{ path: 'phoneNumbers.1.phoneNumber' }]);
    expect(faults[0]!.message).toContain('192.0.2.0/24');
    // Different numbers tell them apart, and so does a more specific block.
    snapshotOf({
      sipCredentials: shared,
      phoneNumbers: [phoneNumbers[0]!, { phoneNumber: '+2', credentialsId: 'b' }],
    });
    snapshotOf({ sipCredentials: [carrier('a'), carrier('b', ['192.0.2.1'])], phoneNumbers });
  });

  it('is an outbound number that could be either of two', () => {
    const faults = faultsOf({
      sipCredentials: [carrier('a', ['192.0.2.1']), carrier('b', ['192.0.2.2'])],
      phoneNumbers: [
        { id: 'one', phoneNumber: '+14155550100', credentialsId: 'a' },
        { id: 'two', phoneNumber: '+14155550100', credentialsId: 'b' },
      ],
      agents: [{ id: 'sales', outboundNumberId: '+14155550100' }],
    });
    expect(faults).toMatchObject([{ hint: 'give one of the ids: one, two' }]);
  });
});

describe('the directory', () => {
  it('swaps the snapshot whole and tells', () => {
    const first = emptySnapshot();
    const directory = new Directory(first);
    expect(directory.current.trunksBySource('127.0.0.1')).toEqual([]);
    const listener = vi.fn();
    const off = directory.onChange(listener);
    const second = snapshotOf({}, 2);
    directory.replace(second);
    expect(directory.current).toBe(second);
    expect(listener).toHaveBeenCalledExactlyOnceWith(second, first);
    directory.replace(second);
    off();
    directory.replace(first);
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
