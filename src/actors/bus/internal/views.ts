/** Views of a node for users: values that no later frame changes. */
import type { Member, PeerLink } from "./member.ts"
import type { NodeCounts, Table } from "./table.ts"
import type { SlotOwner } from "./slotTable.ts"

export interface MemberView {
  readonly id: string
  readonly ip: string
  readonly busPort: number
  readonly clientPort: number
  readonly role: "primary" | "replica"
  /** Of a replica. */
  readonly primary: string | undefined
  readonly shard: string | undefined
  readonly hostname: string | undefined
  /** `connected` both ways; `suspected` by this node alone; `failed` says the cluster. */
  readonly state: "connecting" | "connected" | "suspected" | "failed"
}

/** All members as of one moment. The version grows with every change. */
export interface MembersView {
  readonly version: number
  readonly members: ReadonlyArray<MemberView>
}

/** All slots that have an owner, as of one moment. */
export interface SlotsView {
  readonly version: number
  readonly slots: ReadonlyArray<SlotOwner>
}

/** The columns of CLUSTER LINKS, and what else this node knows of a link. */
export interface LinkView {
  readonly direction: "to" | "from"
  /** Undefined before the gate has opened. */
  readonly node: string | undefined
  readonly address: string
  readonly ageMs: number
  readonly rttMs: number | undefined
}

export interface Health {
  /** `replaced`: a newer owner of the journal has the id, and this node is over. */
  readonly state: "notJoined" | "joined" | "removed" | "replaced"
  readonly connected: number
  /** Nodes that are known and not connected both ways, those that were only named among them. */
  readonly connecting: number
  readonly suspected: ReadonlyArray<string>
  /** Others tell that this node has failed. */
  readonly isCalledFailed: boolean
  /** Another node uses this node's id at this address, or at one that is unknown. */
  readonly sameIdAt: string | undefined
  /** The cluster's epoch, as its primaries tell it. */
  readonly clusterEpoch: bigint
  readonly counts: Readonly<NodeCounts>
  /** Publications since the start that were no value of a subscriber's Schema. */
  readonly undecoded: number
  /**
   * Whether threads answer PINGs while the main one is busy. Without workers a pause of a node
   * timeout is a failure for the cluster.
   */
  readonly answersWhileBusy: boolean
  /** Days until the certificate ends; undefined without TLS. */
  readonly certificateDays: number | undefined
}

const stateOf = (member: Member): MemberView["state"] => {
  if (member.isFailed) return "failed"
  if (member.isSuspected) return "suspected"
  const isConnected = member.outbound?.isProven === true && member.inbound !== undefined
  return isConnected ? "connected" : "connecting"
}

const memberView = (member: Member): MemberView => ({
  id: member.id,
  ip: member.address.ip,
  busPort: member.address.busPort,
  clientPort: member.port,
  role: member.isReplica ? "replica" : "primary",
  primary: member.primary,
  shard: member.shard,
  hostname: member.hostname,
  state: stateOf(member)
})

export const membersOf = (table: Table): ReadonlyArray<MemberView> => table.proven.map(memberView)

const linkView = (link: PeerLink, now: number): LinkView => ({
  direction: link.isInbound ? "from" : "to",
  node: link.peer?.id,
  address: `${link.remote.ip}:${link.remote.busPort}`,
  ageMs: now - link.openedAt,
  rttMs: link.rttMs
})

export const linksOf = (table: Table): ReadonlyArray<LinkView> => {
  const now = table.outside.now()
  return [...table.links].filter(({ isOpen }) => isOpen).map((link) => linkView(link, now))
}

const stateOfNode = ({ isRemoved, isReplaced }: Table, connected: number): Health["state"] => {
  if (isReplaced) return "replaced"
  if (isRemoved) return "removed"
  return connected > 0 ? "joined" : "notJoined"
}

export const healthOf = (
  table: Table,
  rest: Pick<Health, "undecoded" | "answersWhileBusy" | "certificateDays">
): Health => {
  const members = membersOf(table)
  const connected = members.filter(({ state }) => state === "connected").length
  return {
    state: stateOfNode(table, connected),
    connected,
    connecting: table.members.size - connected,
    suspected: members.filter(({ state }) => state === "suspected").map(({ id }) => id),
    isCalledFailed: table.isCalledFailed,
    sameIdAt: table.sameIdAt,
    clusterEpoch: table.clusterEpoch,
    counts: { ...table.counts },
    ...rest
  }
}
