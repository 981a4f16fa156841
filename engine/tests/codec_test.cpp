// The codebook codec: what was encoded comes back; coders 0 and 2 against payloads worked out by hand; coder 1 against the
// entropy of its source.
#include "codec_support.h"

using namespace codec_test;

namespace {

void check_round_trip(const Matrix& m, const char* what) {
  for (const CodebookEncodeOptions& options : all_options()) {
    CodebookSizes sizes, again;
    const Bytes payload = encode(m, options, &sizes);
    const Decoded d = decode(payload, m.rows, m.columns);
    check(!d.problem && d.matrix.index == m.index && equal_bits(d.matrix.codebook, m.codebook),
          "round trip, %s, %u x %u, %zu entries, %s: %s", what, m.rows, m.columns, m.codebook.size(),
          name(options).c_str(), d.problem ? d.problem : "other weights");
    check(sizes.indices + sizes.codes + sizes.codebook + sizes.header == payload.size(),
          "sizes add up, %s, %s", what, name(options).c_str());
    check(encode(m, options, &again) == payload, "same bytes again, %s, %s", what, name(options).c_str());
  }
}

void test_round_trips() {
  Random random(1);
  for (const uint32_t entries : {1u, 2u, 3u, 5u, 16u, 64u, 65u, 300u}) {
    for (const double density : {0.0, 0.02, 0.1, 0.5, 1.0}) {
      check_round_trip(random_matrix(1, 1, density, entries, false, random), "random");
      check_round_trip(random_matrix(1 + below(random, 40), 1 + below(random, 90), density, entries, true, random),
                       "random, uneven");
      check_round_trip(random_matrix(1, 1 + below(random, 300), density, entries, false, random), "one row");
      check_round_trip(random_matrix(1 + below(random, 300), 1, density, entries, false, random), "one column");
    }
  }
  check_round_trip(random_matrix(3, 700, 0.5, 65536, false, random), "largest codebook");
  Matrix every{256, 256, {}, ascending_codebook(65536, random)};
  for (int32_t i = 0; i < 65536; ++i) every.index.push_back(int32_t((i * 40503u) & 65535));
  check_round_trip(every, "every code once");
  Matrix gap{2, 70000, std::vector<int32_t>(140000, -1), {-1, 1}};
  gap.index[3] = 1;
  gap.index[139998] = 0;
  check_round_trip(gap, "long gap");
  Matrix unordered{2, 3, {2, -1, 0, 1, -1, 2}, {0.5f, -0.0f, std::nanf("")}};
  check_round_trip(unordered, "codebook out of order");
  Matrix equal{1, 4, {0, 1, 2, 3}, {-0.0f, 0.0f, 0.0f, INFINITY}};
  check_round_trip(equal, "codebook with equal values");
}

void put_float(Bytes* bytes, float value) {
  uint8_t b[4];
  std::memcpy(b, &value, 4);
  bytes->insert(bytes->end(), b, b + 4);
}

// Non-zeros at 1 (code 0), 2 (code 1) and 12 (code 0); gaps in 2 bits. The gap of 9 needs two fillers:
// (1,0) (0,1) (3,F) (3,F) (1,0), where F = 2 is the filler's code.
void test_by_hand() {
  Matrix m{2, 8, std::vector<int32_t>(16, -1), {-1.5f, 2.0f}};
  m.index[1] = m.index[12] = 0;
  m.index[2] = 1;
  CodebookSizes sizes;

  Bytes expected = {0x40, 2, 3};
  for (const float value : m.codebook) put_float(&expected, value);
  // 2 gap bits, 2 fillers; 01 00, 00 01, 11 10, 11 10, 01 00.
  expected.insert(expected.end(), {2, 2, 0x41, 0xee, 0x40});
  check(encode(m, simple(false, 2), &sizes) == expected, "fixed width by hand");
  check(sizes.indices == 2 && sizes.codes == 1 && sizes.codebook == 8 && sizes.header == 5, "fixed width, parts");
  check(decode(expected, 2, 8).matrix.index == m.index, "fixed width by hand, decoded");

  // Gaps 1, 0, 3, 3, 1: lengths 2, 2, -, 1, words 10, 11, -, 0. Codes 0, 1, F, F, 0: lengths 2, 2, 1, words 10, 11, 0.
  // Tables: 00010 00010 00000 00000000 00001, 00010 00010 00001; stream: 11 10, 10 11, 0 0, 0 0, 11 10.
  expected.resize(expected.size() - 3);
  expected[0] = 0;
  expected.insert(expected.end(), {0x10, 0x80, 0x00, 0x11, 0x08, 0x20, 0xeb, 0x0e});
  check(encode(m, simple(true, 2), &sizes) == expected, "Huffman by hand");
  check(sizes.indices == 1 && sizes.codes == 1 && sizes.codebook == 8 && sizes.header == 11, "Huffman, parts");
  check(decode(expected, 2, 8).matrix.index == m.index, "Huffman by hand, decoded");
}

// Coder 2. Codes 0 1 2 3 0 1 2 3 in 2 bits each, from the lowest on; then 32 codes in Huffman words, a row a stream.
void test_fast_by_hand() {
  CodebookSizes sizes;
  const Matrix fixed{2, 4, {0, 1, 2, 3, 0, 1, 2, 3}, {4, 1, 3, 2}};
  Bytes head = {0x22, 4};
  for (const float value : fixed.codebook) put_float(&head, value);
  Bytes expected = head;
  expected.insert(expected.end(), {0xe4, 0xe4});
  check(decode(expected, 2, 4).matrix.index == fixed.index, "fixed width from the lowest bit by hand");

  const Matrix uneven{4, 8, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3},
                      fixed.codebook};
  // Lengths 1, 2, 3, 3: words 0, 10, 110, 111. Four lengths of streams, then the streams, first bit lowest:
  // 00000000, 00000001 0 (the 1 is its bit 7), 01001010 10101, 10110110 11011011 1111111.
  head[0] = 0xa2;
  head.insert(head.end(), {0x21, 0x33, 1, 2, 2, 3, 0x00, 0x80, 0x00, 0x52, 0x15, 0x6d, 0xdb, 0x7f});
  check(decode(head, 4, 8).matrix.index == uneven.index, "Huffman words in streams by hand");

  // Non-zeros at 1, 2 and 300 of one row: gaps 1, 0, a skip of 255, 42. Head, K, n, codebook, skips, gaps, code bits.
  Matrix sparse{1, 400, std::vector<int32_t>(400, -1), {-1.5f, 2.0f}};
  sparse.index[1] = sparse.index[300] = 1;
  sparse.index[2] = 0;
  Bytes skip = {0x02, 2, 3};
  for (const float value : sparse.codebook) put_float(&skip, value);
  skip.insert(skip.end(), {1, 1, 0, 255, 42, 0x05});
  check(decode(skip, 1, 400).matrix.index == sparse.index, "gaps with a skip by hand");
  Random random(6);
  const Matrix large = random_matrix(100, 300, 0.3, 64, true, random);
  const Bytes payload = encode(large, fast(), &sizes);
  check((payload[0] & 7) == 2 && payload[0] >> 6 == 3, "of many uneven weights gaps and codes become Huffman words");
}

// 1/3 is 0x3555 in binary16, 2^-24 is its smallest value, 1 + 2^-11 lies half way and goes to the even 1.
void test_half() {
  Matrix m{1, 5, {0, 1, 2, 3, 4}, {1.0f / 3, std::ldexp(1.0f, -24), 1 + std::ldexp(1.0f, -11), -65504.0f, -0.0f}};
  CodebookEncodeOptions options = simple(false, 5);
  options.half_codebook = true;
  CodebookSizes sizes;
  const Bytes payload = encode(m, options, &sizes);
  const Bytes expected = {0x70, 5, 0x55, 0x35, 0x01, 0x00, 0x00, 0x3c, 0xff, 0xfb, 0x00, 0x80, 0x05, 0x38};
  check(payload == expected, "half codebook by hand");
  const Decoded d = decode(payload, 1, 5);
  check(!d.problem && equal_bits(d.matrix.codebook, {0x555 / 4096.0f, m.codebook[1], 1.0f, -65504.0f, -0.0f}),
        "half codebook, decoded");
  Random random(2);
  for (const uint32_t entries : {1u, 2u, 40u, 300u}) {
    Matrix r = random_matrix(20, 30, 0.4, entries, true, random);
    CodebookEncodeOptions o = range();
    o.half_codebook = true;
    const Decoded once = decode(encode(r, o, &sizes), 20, 30);
    check(!once.problem && once.matrix.index == r.index, "half codebook, round trip of the codes");
    for (uint32_t k = 0; k < entries && !once.problem; ++k) {
      check(std::fabs(once.matrix.codebook[k] - r.codebook[k]) <= std::ldexp(1.0f, -12), "half codebook, error");
    }
    check(encode(once.matrix, o, &sizes) == encode(r, o, &sizes), "half codebook, rounding is idempotent");
  }
}

double entropy(double p) { return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p); }

void test_size() {
  Random random(3);
  CodebookSizes sizes;
  // Independent positions and codes: nothing to learn but the density and the law of the codes.
  for (const double density : {0.02, 0.1, 0.4}) {
    Matrix m{400, 500, {}, ascending_codebook(8, random)};
    double nonzeros = 0;
    for (int i = 0; i < 200000; ++i) {
      const bool kept = uniform(random) < density;
      nonzeros += kept;
      int32_t code = 0;
      while (code < 7 && random() & 1) ++code;  // 1/2, 1/4, ...: 2 - 2^-6 bits each
      m.index.push_back(kept ? code : -1);
    }
    const double positions = 200000 * entropy(nonzeros / 200000) / 8, codes = nonzeros * (2 - 1 / 64.0) / 8;
    const Bytes payload = encode(m, range(), &sizes);
    check(payload.size() < 1.02 * (positions + codes) + 150, "entropy %.0f, density %.2f: range coder took %zu",
          positions + codes, density, payload.size());
    const Bytes fast = encode(m, range(true), &sizes);
    check(fast.size() < 1.03 * (positions + codes) + 150, "entropy %.0f, density %.2f: fast range coder took %zu",
          positions + codes, density, fast.size());
  }
  // Uneven columns and dead rows: less than the entropy of the density alone.
  const Matrix uneven = random_matrix(400, 500, 0.1, 16, true, random);
  double kept = 0;
  for (const int32_t i : uneven.index) kept += i >= 0;
  encode(uneven, range(), &sizes);
  check(sizes.indices < 0.85 * 200000 * entropy(kept / 200000) / 8, "uneven densities, positions took %.0f of %.0f",
        double(sizes.indices), 200000 * entropy(kept / 200000) / 8);
  // A first layer on images of width 28, whose neighbours share their sign.
  Matrix image{200, 784, {}, ascending_codebook(16, random)};
  for (int row = 0; row < 200; ++row) {
    const double a = uniform(random) * 6, b = uniform(random) * 6, c = uniform(random) * 6;
    for (int i = 0; i < 784; ++i) {
      const double field = std::sin(a + b * (i % 28) / 14.0) * std::cos(c + a * (i / 28) / 14.0);
      const bool kept_here = uniform(random) < 0.2 * std::fabs(field);
      image.index.push_back(!kept_here ? -1 : field < 0 ? int32_t(below(random, 8)) : int32_t(8 + below(random, 8)));
    }
  }
  kept = 0;
  for (const int32_t i : image.index) kept += i >= 0;
  encode(image, range(), &sizes);
  check(sizes.codes < 0.92 * kept * 4 / 8, "neighbours of one sign, codes took %.0f of %.0f", double(sizes.codes),
        kept * 4 / 8);
}

// Payloads written by the first version: whatever the models become, a file that exists must stay readable.
void test_stored_payloads() {
  Matrix m{25, 40, {}, {-0.5f, -0.25f, -0.125f, 0.25f, 0.375f, 0.5f}};
  uint32_t x = 1;
  for (uint32_t i = 0; i < 1000; ++i) {
    x = x * 1664525u + 1013904223u;
    m.index.push_back(x >> 24 < (i / 40 % 3 ? 24u : 90u) ? int32_t((x >> 16 & 255) * 6 >> 8) : -1);
  }
  const Bytes modelled = {
      0x11, 0x06, 0xbc, 0x01, 0x00, 0xb8, 0x00, 0xb4, 0x00, 0xb0, 0x00, 0x34, 0x00, 0x36, 0x00, 0x38, 0x08, 0x40,
      0x3d, 0x1c, 0xcf, 0x96, 0x22, 0x54, 0x4b, 0x4a, 0x50, 0x95, 0x57, 0xf5, 0x25, 0x74, 0x24, 0xd4, 0xde, 0xba,
      0x5c, 0x25, 0x66, 0x6f, 0xad, 0xdf, 0xf1, 0x2f, 0xbc, 0xbc, 0x43, 0x7e, 0xdd, 0x6d, 0x9a, 0xab, 0x04, 0x9d,
      0xeb, 0x9a, 0xb3, 0x69, 0xc2, 0x95, 0x09, 0x02, 0xcc, 0x7e, 0xef, 0x47, 0xb1, 0x25, 0x51, 0xf3, 0x31, 0xfe,
      0xb1, 0x80, 0xa5, 0x52, 0x07, 0x8c, 0xf9, 0x64, 0xc3, 0x2b, 0x04, 0xd3, 0xea, 0xc6, 0xf7, 0x0f, 0xf0, 0x01,
      0x1c, 0xe8, 0x32, 0x54, 0x5d, 0x7b, 0x5f, 0xe0, 0x7f, 0x31, 0x5c, 0x74, 0xeb, 0x47, 0x3e, 0x9c, 0xe2, 0x9f,
      0xe6, 0x9c, 0x54, 0xb9, 0xe7, 0x40, 0x74, 0xba, 0x34, 0x3a, 0x63, 0xcc, 0x51, 0xe1, 0x73, 0x61, 0x5c, 0x17,
      0x30, 0x45, 0x5b, 0xde, 0xc0, 0x1a, 0x63, 0xb4, 0xe4, 0xf7, 0xc5, 0x3c, 0xa8, 0x7f, 0xa8, 0x6a, 0xcd, 0x29,
      0xd5, 0xec, 0xed, 0x8f, 0xf2, 0x8a, 0xb0, 0x30, 0x2b, 0xe6, 0xa3, 0x30, 0xb1, 0x26, 0x48, 0x1f, 0xc8, 0xa2,
      0xfb, 0xc6, 0xa7, 0x44, 0x02, 0x46, 0xaf, 0xa8, 0xa3, 0x34};
  const Bytes fast = {
      0xd1, 0x06, 0xbc, 0x01, 0x00, 0xb8, 0x00, 0xb4, 0x00, 0xb0, 0x00, 0x34, 0x00, 0x36, 0x00, 0x38, 0x02, 0xc1,
      0x2b, 0x6c, 0x84, 0x43, 0xf4, 0xbb, 0x70, 0x20, 0xac, 0x91, 0x13, 0x97, 0xb0, 0x4d, 0xa6, 0x4a, 0x68, 0xd5,
      0xc0, 0xe4, 0x79, 0xe0, 0x65, 0x8c, 0x37, 0x01, 0xe3, 0x6f, 0x92, 0x57, 0x53, 0xdd, 0x7d, 0xde, 0x66, 0x3c,
      0x0b, 0x9e, 0x6a, 0x2f, 0xbd, 0xcf, 0x70, 0xd9, 0x97, 0x97, 0x53, 0xd4, 0x12, 0x8a, 0x30, 0x4c, 0xa2, 0x80,
      0xc5, 0x4a, 0x06, 0x1b, 0x02, 0x79, 0x83, 0xf6, 0x06, 0x2d, 0x53, 0x70, 0x0a, 0x80, 0x39, 0x2f, 0xb6, 0x47,
      0x8a, 0x6b, 0x92, 0x4b, 0x94, 0x4d, 0x75, 0x6c, 0xb0, 0x00, 0xdc, 0x2b, 0x3f, 0x94, 0x9e, 0xe5, 0xa6, 0xbc,
      0x16, 0xc9, 0x51, 0xe7, 0xf0, 0x14, 0x7c, 0xcc, 0x14, 0x12, 0x3d, 0xff, 0x56, 0xe5, 0x68, 0x9b, 0xe3, 0x31,
      0x7c, 0x31, 0x7e, 0xc0, 0xfe, 0x70, 0xd4, 0xbf, 0xe8, 0x66, 0xd6, 0x76, 0x94, 0xab, 0x17, 0xc7, 0xf0, 0xde,
      0xda, 0xb5, 0x5f, 0x8d, 0xa7, 0x55, 0x32, 0x8f, 0x4e, 0x26, 0x34, 0x61, 0x80, 0x24, 0x28, 0x92, 0x42, 0x55,
      0xcb, 0xf7, 0x1f, 0xcd, 0xcc, 0x31, 0x32, 0x72, 0x75, 0xc9, 0x2b, 0x8e, 0xee, 0xf6, 0x96, 0x54, 0x4e};
  for (const Bytes& payload : {modelled, fast}) {
    const Decoded d = decode(payload, 25, 40);
    check(!d.problem && d.matrix.index == m.index && equal_bits(d.matrix.codebook, m.codebook),
          "stored payload, mode %d", payload[0] >> 6);
  }
}

void test_small_payloads() {
  CodebookSizes sizes;
  const Matrix bias{1, 10, {0, 3, 2, 1, 1, 2, 3, 0, 0, 1}, {-0.7f, 0.3f, -0.2f, 0.6f}};
  check(encode(bias, range(), &sizes).size() == 2 + 16 + 3, "10 values of 4: head, codebook, 20 bits");
  check(sizes.indices == 0, "no byte for positions where nothing is pruned");
  const Matrix none{50, 60, std::vector<int32_t>(3000, -1), {1.0f}};
  check(encode(none, range(), &sizes).size() == 3 + 4, "all pruned: head and codebook");
  const Matrix one_value{50, 60, std::vector<int32_t>(3000, 0), {1.0f}};
  check(encode(one_value, range(), &sizes).size() <= 2 + 4 + 5, "one value everywhere");
  Random random(4);
  const Matrix full = random_matrix(60, 70, 1.0, 16, false, random);
  for (const CodebookEncodeOptions& options : all_options()) {
    encode(full, options, &sizes);
    check(sizes.indices <= 1, "nothing pruned, %s: positions are free", name(options).c_str());
  }
}

}  // namespace

int main() {
  test_round_trips();
  test_by_hand();
  test_fast_by_hand();
  test_half();
  test_size();
  test_stored_payloads();
  test_small_payloads();
  return report();
}
