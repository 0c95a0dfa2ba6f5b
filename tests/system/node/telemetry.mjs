// OpenTelemetry's own SDK and gRPC exporters, as a service would run them: traces, metrics and logs of a small shop.
//   node telemetry.mjs '{"target","authority","certificate","key","requests"}'
import { readFileSync } from 'node:fs';
import { context, metrics, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import grpc from '@grpc/grpc-js';

const options = JSON.parse(process.argv[2]);
const exporterOptions = {
  url: `https://${options.target}`,
  credentials: grpc.credentials.createSsl(
    readFileSync(options.authority),
    readFileSync(options.key),
    readFileSync(options.certificate),
  ),
};
const providers = [];

function service(name, extra = {}) {
  const resource = resourceFromAttributes({
    'service.name': name,
    'service.namespace': 'node',
    'deployment.environment.name': 'test',
    'k8s.pod.name': `${name}-0`,
    'k8s.node.name': 'machine-1',
    ...extra,
  });
  const tracing = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(exporterOptions))],
  });
  const metering = new MeterProvider({
    resource,
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter(exporterOptions),
        exportIntervalMillis: 3600000,
      }),
    ],
  });
  const logging = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(exporterOptions) })],
  });
  providers.push(tracing, metering, logging);
  return {
    tracer: tracing.getTracer('shop'),
    meter: metering.getMeter('shop'),
    logger: logging.getLogger('shop'),
    flush: async () => Promise.all([tracing.forceFlush(), metering.forceFlush(), logging.forceFlush()]),
  };
}

const front = service('front');
const orders = service('orders');
const mailer = service('mailer');
const served = front.meter.createCounter('http.requests');
const duration = front.meter.createHistogram('http.server.request.duration', { unit: 's' });
orders.meter
  .createObservableGauge('queue.length')
  .addCallback((result) => result.observe(7));

const inside = (span, parent = context.active()) => trace.setSpan(parent, span);

function request(number) {
  const fails = number % 4 === 0;
  const root = front.tracer.startSpan('POST /orders', { kind: SpanKind.SERVER, root: true });
  const call = front.tracer.startSpan('POST', { kind: SpanKind.CLIENT }, inside(root));
  const handler = orders.tracer.startSpan('POST /orders', { kind: SpanKind.SERVER }, inside(call));
  orders.logger.emit({
    body: `order ${number} is placed`,
    severityNumber: 9,
    context: inside(handler),
  });
  orders.tracer
    .startSpan(
      'INSERT orders',
      {
        kind: SpanKind.CLIENT,
        attributes: { 'db.system.name': 'postgresql', 'server.address': 'db', 'db.operation.name': 'INSERT' },
      },
      inside(handler),
    )
    .end();
  const message = orders.tracer.startSpan(
    'send placed',
    {
      kind: SpanKind.PRODUCER,
      attributes: { 'messaging.system': 'kafka', 'messaging.destination.name': 'placed' },
    },
    inside(handler),
  );
  mailer.tracer
    .startSpan(
      'process placed',
      {
        kind: SpanKind.CONSUMER,
        attributes: { 'messaging.system': 'kafka', 'messaging.destination.name': 'placed' },
      },
      inside(message),
    )
    .end();
  message.end();
  for (const span of [handler, call, root]) {
    if (fails) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  }
  served.add(1, { route: '/orders' });
  duration.record(0.02);
}

for (let number = 1; number <= options.requests; number++) request(number);
for (const one of [front, orders, mailer]) await one.flush();
for (let number = 1; number <= options.requests; number++) request(options.requests + number);
await Promise.all(providers.map((one) => one.shutdown()));
metrics.disable();
