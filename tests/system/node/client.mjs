// A foreign client in Node: builds, signs and sends an action by itself, with @grpc/grpc-js and nothing of ours.
//   node client.mjs '{"target","proto","authority","certificate","key","seed","installation","principal","action":{…}}'
// Prints the EvaluateResponse as JSON.
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

const TYPE = 'application/vnd.interlock.action.v1+protobuf';
const options = JSON.parse(process.argv[2]);

const root = new protobuf.Root();
root.resolvePath = (_, target) => `${options.proto}/${target}`;
root.loadSync('interlock/policy/v1/policy.proto');
const Action = root.lookupType('interlock.policy.v1.Action');

const now = Date.now();
const payload = Buffer.from(
  Action.encode(
    Action.fromObject({
      header: {
        type: TYPE,
        installation: options.installation,
        principal: options.principal,
        issuedAtMs: now,
        expiresAtMs: now + 300000,
        nonce: randomBytes(32),
      },
      ...options.action,
    }),
  ).finish(),
);

// PKCS #8 of an Ed25519 seed (RFC 8410): a fixed prefix and the seed.
const seed = Buffer.from(options.seed, 'base64');
const key = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
  format: 'der',
  type: 'pkcs8',
});
const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
const pae = Buffer.concat([Buffer.from(`DSSEv1 ${TYPE.length} ${TYPE} ${payload.length} `), payload]);
const envelope = {
  payload,
  payload_type: TYPE,
  signatures: [
    { sig: sign(null, pae, key), keyid: createHash('sha256').update(publicKey).digest('hex').slice(0, 32) },
  ],
};

const definition = loader.loadSync('interlock/policy/v1/policy.proto', {
  includeDirs: [options.proto],
  keepCase: true,
  longs: String,
  enums: String,
  bytes: String,
  defaults: true,
});
const { PolicyService } = grpc.loadPackageDefinition(definition).interlock.policy.v1;
const client = new PolicyService(
  options.target,
  grpc.credentials.createSsl(
    readFileSync(options.authority),
    readFileSync(options.key),
    readFileSync(options.certificate),
  ),
);
client.Evaluate({ action: envelope }, { deadline: Date.now() + 20000 }, (error, response) => {
  if (error) {
    console.error(`${error.code} ${error.details}`);
    process.exit(1);
  }
  console.log(JSON.stringify(response));
  client.close();
});
