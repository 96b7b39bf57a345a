/*
 * Stands in for libibverbs and librdmacm, with one device that answers its own work at once: it
 * decodes the structs that it is given, so layouts and the cost of calls show without hardware.
 *
 * STUB_FAIL in the environment names calls that fail, as "ibv_open_device=13,ibv_reg_mr=12". What
 * is destroyed before what was made on it is refused, and counted.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define RING 4096
#define EVENTS 64

struct context { struct ibv_context base; int pds, cqs, channels; struct ibv_async_event events[EVENTS]; unsigned head, tail; };
struct pd { struct ibv_pd base; int users; };
struct channel { struct ibv_comp_channel base; struct ibv_cq *fired[EVENTS]; unsigned head, tail; };
struct cq { struct ibv_cq base; struct ibv_wc ring[RING]; unsigned head, tail; int armed, users; };
struct qp { struct ibv_qp base; uint64_t receives[RING]; unsigned head, tail; };

static int live, violations;
static uint64_t sum;
static struct ibv_device device;
static struct ibv_device *devices[2];

static int fails(const char *call) {
  const char *list = getenv("STUB_FAIL"), *found = list ? strstr(list, call) : NULL;
  if (!found || found[strlen(call)] != '=') return 0;
  return errno = atoi(found + strlen(call) + 1);
}
static void *grow(size_t size) { live++; return calloc(1, size); }
static int end(void *thing, int users) {
  if (users > 0) { violations++; return EBUSY; }
  live--;
  free(thing);
  return 0;
}
int stub_live(void) { return live; }
int stub_violations(void) { return violations; }

static void signal_fd(int fd) { uint64_t one = 1; if (write(fd, &one, 8) != 8) abort(); }
static int take_fd(int fd) { uint64_t count; return read(fd, &count, 8) == 8 ? 0 : -1; }

static void put(struct ibv_cq *base, struct ibv_wc *wc) {
  struct cq *cq = (struct cq *)base;
  if (cq->tail - cq->head == RING) abort();
  cq->ring[cq->tail++ % RING] = *wc;
  if (!cq->armed) return;
  cq->armed = 0;
  struct channel *channel = (struct channel *)base->channel;
  channel->fired[channel->tail++ % EVENTS] = base;
  signal_fd(channel->base.fd);
}
static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad) {
  for (; wr; wr = wr->next) {
    if (qp->state != IBV_QPS_RTS && qp->state != IBV_QPS_ERR) { *bad = wr; return EINVAL; }
    uint32_t length = 0;
    int wrong = 0;
    for (int i = 0; i < wr->num_sge; i++) {
      length += wr->sg_list[i].length;
      wrong |= wr->sg_list[i].lkey == 0;
      sum += wr->sg_list[i].addr;
    }
    sum += wr->wr.rdma.remote_addr + wr->wr.rdma.rkey;
    int isFlushed = qp->state == IBV_QPS_ERR;
    if (!(wr->send_flags & IBV_SEND_SIGNALED) && !isFlushed && !wrong) continue;
    struct ibv_wc wc = {.wr_id = wr->wr_id, .byte_len = length, .qp_num = qp->qp_num};
    if (isFlushed) wc.status = IBV_WC_WR_FLUSH_ERR;
    else if (wrong) wc.status = IBV_WC_LOC_PROT_ERR;
    put(qp->send_cq, &wc);
  }
  return 0;
}
static int post_recv(struct ibv_qp *base, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad) {
  struct qp *qp = (struct qp *)base;
  for (; wr; wr = wr->next) qp->receives[qp->tail++ % RING] = wr->wr_id;
  return 0;
}
static int poll_cq(struct ibv_cq *base, int most, struct ibv_wc *wc) {
  struct cq *cq = (struct cq *)base;
  int count = 0;
  while (count < most && cq->head != cq->tail) wc[count++] = cq->ring[cq->head++ % RING];
  return count;
}
static int notify(struct ibv_cq *cq, int solicited) { ((struct cq *)cq)->armed = 1; return 0; }

struct ibv_device **ibv_get_device_list(int *count) {
  if (fails("ibv_get_device_list")) return NULL;
  strcpy(device.name, "stub0");
  int there = !getenv("STUB_NONE");
  devices[0] = there ? &device : NULL;
  if (count) *count = there;
  return devices;
}
void ibv_free_device_list(struct ibv_device **list) {}
struct ibv_context *ibv_open_device(struct ibv_device *wanted) {
  if (fails("ibv_open_device")) return NULL;
  struct context *made = grow(sizeof *made);
  made->base.device = wanted;
  made->base.async_fd = eventfd(0, EFD_SEMAPHORE);
  made->base.ops.post_send = post_send;
  made->base.ops.post_recv = post_recv;
  made->base.ops.poll_cq = poll_cq;
  made->base.ops.req_notify_cq = notify;
  return &made->base;
}
int ibv_close_device(struct ibv_context *context) {
  struct context *made = (struct context *)context;
  int fd = context->async_fd, wrong = end(made, made->pds + made->cqs + made->channels);
  if (!wrong) close(fd);
  return wrong;
}
int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr) {
  if (fails("ibv_query_device")) return errno;
  *attr = (struct ibv_device_attr){.max_mr_size = ~0ul, .max_qp = 1000, .max_qp_wr = 2000,
    .max_sge = 16, .max_cq = 1000, .max_cqe = 4000, .max_mr = 3000, .max_qp_rd_atom = 16,
    .max_qp_init_rd_atom = 16, .phys_port_cnt = 2};
  return 0;
}
#undef ibv_query_port
int ibv_query_port(struct ibv_context *context, uint8_t port, struct _compat_ibv_port_attr *attr) {
  struct ibv_port_attr *told = (struct ibv_port_attr *)attr;
  told->state = IBV_PORT_ACTIVE;
  told->active_mtu = IBV_MTU_1024;
  told->max_msg_sz = 1u << 30;
  told->link_layer = IBV_LINK_LAYER_ETHERNET;
  return 0;
}
ssize_t _ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries, size_t most, uint32_t flags, size_t size) {
  for (unsigned port = 1; port <= 2; port++) {
    struct ibv_gid_entry *entry = &entries[port - 1];
    memset(entry, 0, sizeof *entry);
    entry->gid.raw[10] = entry->gid.raw[11] = 255;
    entry->gid.raw[12] = 127;
    entry->gid.raw[15] = port;
    entry->port_num = port;
    entry->gid_type = IBV_GID_TYPE_ROCE_V2;
    entry->ndev_ifindex = 1;
  }
  return 2;
}
struct ibv_pd *ibv_alloc_pd(struct ibv_context *context) {
  if (fails("ibv_alloc_pd")) return NULL;
  struct pd *pd = grow(sizeof *pd);
  pd->base.context = context;
  ((struct context *)context)->pds++;
  return &pd->base;
}
int ibv_dealloc_pd(struct ibv_pd *base) {
  struct context *context = (struct context *)base->context;
  int wrong = end(base, ((struct pd *)base)->users);
  if (!wrong) context->pds--;
  return wrong;
}
#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *address, size_t length, int access) {
  static uint32_t keys;
  if (fails("ibv_reg_mr")) return NULL;
  struct ibv_mr *mr = grow(sizeof *mr);
  *mr = (struct ibv_mr){.context = pd->context, .pd = pd, .addr = address, .length = length};
  mr->lkey = mr->rkey = ++keys << 8;
  ((struct pd *)pd)->users++;
  return mr;
}
int ibv_dereg_mr(struct ibv_mr *mr) { ((struct pd *)mr->pd)->users--; return end(mr, 0); }
struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context) {
  if (fails("ibv_create_comp_channel")) return NULL;
  struct channel *channel = grow(sizeof *channel);
  channel->base.context = context;
  channel->base.fd = eventfd(0, EFD_SEMAPHORE);
  ((struct context *)context)->channels++;
  return &channel->base;
}
int ibv_destroy_comp_channel(struct ibv_comp_channel *channel) {
  struct context *context = (struct context *)channel->context;
  int fd = channel->fd, wrong = end(channel, channel->refcnt);
  if (wrong) return wrong;
  close(fd);
  context->channels--;
  return 0;
}
struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *data, struct ibv_comp_channel *channel, int vector) {
  if (fails("ibv_create_cq")) return NULL;
  struct cq *cq = grow(sizeof *cq);
  cq->base.context = context;
  cq->base.channel = channel;
  cq->base.cqe = cqe;
  channel->refcnt++;
  ((struct context *)context)->cqs++;
  return &cq->base;
}
int ibv_destroy_cq(struct ibv_cq *cq) {
  struct context *context = (struct context *)cq->context;
  struct ibv_comp_channel *channel = cq->channel;
  int wrong = end(cq, ((struct cq *)cq)->users);
  if (wrong) return wrong;
  channel->refcnt--;
  context->cqs--;
  return 0;
}
int ibv_get_cq_event(struct ibv_comp_channel *base, struct ibv_cq **cq, void **data) {
  struct channel *channel = (struct channel *)base;
  if (take_fd(base->fd) != 0) return -1;
  *cq = channel->fired[channel->head++ % EVENTS];
  return 0;
}
void ibv_ack_cq_events(struct ibv_cq *cq, unsigned count) {}
struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr) {
  if (fails("ibv_create_qp")) return NULL;
  struct qp *qp = grow(sizeof *qp);
  qp->base = (struct ibv_qp){.context = pd->context, .pd = pd, .send_cq = attr->send_cq,
    .recv_cq = attr->recv_cq, .qp_num = 17, .state = IBV_QPS_RESET, .qp_type = attr->qp_type};
  ((struct pd *)pd)->users++;
  ((struct cq *)attr->send_cq)->users++;
  ((struct cq *)attr->recv_cq)->users++;
  return &qp->base;
}
int ibv_modify_qp(struct ibv_qp *base, struct ibv_qp_attr *attr, int mask) {
  struct qp *qp = (struct qp *)base;
  if (fails("ibv_modify_qp")) return errno;
  base->state = attr->qp_state;
  if (attr->qp_state == IBV_QPS_ERR && !getenv("STUB_NO_FLUSH"))
    while (qp->head != qp->tail) {
      struct ibv_wc wc = {.wr_id = qp->receives[qp->head++ % RING], .status = IBV_WC_WR_FLUSH_ERR};
      put(base->recv_cq, &wc);
    }
  return 0;
}
int ibv_destroy_qp(struct ibv_qp *qp) {
  ((struct pd *)qp->pd)->users--;
  ((struct cq *)qp->send_cq)->users--;
  ((struct cq *)qp->recv_cq)->users--;
  return end(qp, 0);
}
void stub_event(struct ibv_context *context, void *element, int type) {
  struct context *made = (struct context *)context;
  made->events[made->tail++ % EVENTS] = (struct ibv_async_event){.element.qp = element, .event_type = type};
  signal_fd(context->async_fd);
}
int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event) {
  struct context *made = (struct context *)context;
  if (take_fd(context->async_fd) != 0) return -1;
  *event = made->events[made->head++ % EVENTS];
  return 0;
}
void ibv_ack_async_event(struct ibv_async_event *event) {}

struct rdma_event_channel *rdma_create_event_channel(void) {
  if (fails("rdma_create_event_channel")) return NULL;
  struct rdma_event_channel *channel = grow(sizeof *channel);
  channel->fd = eventfd(0, EFD_SEMAPHORE);
  return channel;
}
void rdma_destroy_event_channel(struct rdma_event_channel *channel) { close(channel->fd); end(channel, 0); }
int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *data, enum rdma_port_space space) {
  if (fails("rdma_create_id")) return -1;
  *id = grow(sizeof **id);
  return 0;
}
int rdma_destroy_id(struct rdma_cm_id *id) { return end(id, 0); }
int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event) { errno = EAGAIN; return -1; }
#define REFUSED(name, ...) int name(__VA_ARGS__) { errno = EADDRNOTAVAIL; return -1; }
int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *address) { return 0; }
REFUSED(rdma_resolve_addr, struct rdma_cm_id *id, struct sockaddr *a, struct sockaddr *b, int ms)
REFUSED(rdma_resolve_route, struct rdma_cm_id *id, int ms)
REFUSED(rdma_listen, struct rdma_cm_id *id, int backlog)
REFUSED(rdma_connect, struct rdma_cm_id *id, struct rdma_conn_param *param)
REFUSED(rdma_accept, struct rdma_cm_id *id, struct rdma_conn_param *param)
REFUSED(rdma_establish, struct rdma_cm_id *id)
REFUSED(rdma_reject, struct rdma_cm_id *id, const void *data, uint8_t length)
REFUSED(rdma_notify, struct rdma_cm_id *id, enum ibv_event_type event)
REFUSED(rdma_disconnect, struct rdma_cm_id *id)
REFUSED(rdma_init_qp_attr, struct rdma_cm_id *id, struct ibv_qp_attr *attr, int *mask)
int rdma_ack_cm_event(struct rdma_cm_event *event) { return 0; }
uint16_t rdma_get_src_port(struct rdma_cm_id *id) { return 0; }

/* The same work as a program in C would do it: nanoseconds for each post with its completion. */
double stub_loop(struct ibv_qp *qp, struct ibv_cq *cq, int count) {
  struct timespec from, to;
  char memory[64];
  struct ibv_sge entry = {(uintptr_t)memory, 64, 256};
  struct ibv_send_wr *bad, wr = {.sg_list = &entry, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE, .send_flags = IBV_SEND_SIGNALED};
  struct ibv_wc wc[64];
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (int i = 0; i < count; i++) {
    wr.wr_id = i;
    wr.wr.rdma.remote_addr = i;
    if (ibv_post_send(qp, &wr, &bad) != 0 || ibv_poll_cq(cq, 64, wc) != 1) return -1;
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  return ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / count;
}
