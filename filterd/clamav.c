/* libclamav: loading, limits, scanning, the canary (clamav.h). Debian's build has no LLVM: bytecode runs in the interpreter, so no executable memory
 * is needed. */
#include "clamav.h"

#include <clamav.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "os/os.h"
#include "plain.h"
#include "signatures.h"

enum {
	SCAN_FILES_MAX = 10000,		/* members of archives, in all */
	SCAN_DEPTH_MAX = 17,		/* nesting of archives */
	FEW_SIGNATURES = 1000,
	ROOM_DESCRIPTORS = 8 * (SCAN_DEPTH_MAX + 1),
	ROOM_FILES = 256,
	ROOM_PART = 8,			/* of the temporary space, where that is small beside the largest message */
	SAME_SIZE_MAX = 4,		/* inner files that one layer is compared with */
};

struct clamav {
	struct cl_engine *engine;
	unsigned signatures;
	bool shipped;
	bool wants_mail;
	bool damaged;		/* since the message began: something in it is, and was not looked into */
	char tmp[1100];
	int tmp_fd;		/* while a scan runs */
	uint64_t room_bytes;
	struct clamav_inner *inner;	/* of the scan that runs; n_inner */
	size_t n_inner;
	bool mail[SCAN_DEPTH_MAX + 1];	/* the layer that it is in at each level is mail, in mail alone */
	uint64_t scanned;	/* CL_COUNT_PRECISION bytes each */
	uint64_t scans;
};

/* Of the scan that runs. */
static unsigned errors, damages;	/* lines of the library: trouble of ours, trouble with what it unpacks */
static char error_text[160];

/* Beginnings of what the library says as an error and is none: the file is damaged, and will be the next time. A file that cannot be read is another line. */
static bool is_damage(struct str text)
{
	static const char *const beginnings[] = {
		"cli_scanxz: premature end of compressed stream", "cli_scanxz: decompress error: 1",
		"pdf_readstring: Invalid, truncated dictionary",
		"scanzws: Error reading SWF file", "scanzws: possibly truncated file", "scanzws: LzmaInit() failed", "scancws: Error reading SWF file",
		"scan_mso_stream: Error reading MSO file", "ole2: Invalid key length", "ole2: Password length overflow",
		"HWP3.x: Paragraph[", "HWP3.x: Bookmark has incorrect length", "HWP3.x: Information", "HWP3.x: ID ", "HWP3.x: Font Entry",
		"HWP3.x: Doc info block size", "HWP3.x: Failed to read", "HWPML: Unrecognized encoding method",
		"egg_parse_archive_extra_field: File buffer too small", "egg_parse_file_extra_field: File buffer too small",
		"cli_egg_peek_file_header: Invalid handle values", "cli_egg_deflate_decompress: failed", "cli_egg_bzip2_decompress: failed", "cli_egg_lzma_decompress: failed",
		"cli_untar: block read error", "email message decode error: invalid",
	};
	for (size_t i = 0; i < ARRAY_LEN(beginnings); i++)
		if (str_starts(text, str_c(beginnings[i])))
			return true;
	return false;
}

/* The library goes on after trouble. */
static void on_trouble(const char *text)
{
	const bool damage = is_damage(str_c(text));
	errors += !damage;
	damages += damage;
	if (damage && errors > 0)
		return;
	snprintf(error_text, sizeof(error_text), "%s", text);
	char *nl = strchr(error_text, '\n');
	if (nl != NULL)
		*nl = '\0';
}

static void on_message(enum cl_msg severity, const char *full, const char *text, void *ctx)
{
	(void)full;
	(void)ctx;
	if (severity >= CL_MSG_ERROR)
		on_trouble(text == NULL ? "" : text);
}

/* Not of all that it cannot do does the library say so: what of a small part cannot be written is not scanned, and no HTML is when its files cannot be made. So
 * there must be room before each layer; another worker may fill the space meanwhile. A file system that does not count its files says 0. */
static bool has_room(const struct clamav *c)
{
	struct statfs s;
	if (fstatfs(c->tmp_fd, &s) < 0)
		return false;
	const uint64_t block = (uint64_t)s.f_bsize, part = s.f_blocks * block / ROOM_PART, wanted = part < c->room_bytes ? part : c->room_bytes;
	return s.f_bavail * block >= wanted && (s.f_files == 0 || s.f_ffree >= ROOM_FILES);
}

/* Each layer, before it is scanned. What stands in mail is scanned as the type that its bytes have, as it would be by itself. Elsewhere it may not be: a partition of a
 * disk's image, say, is looked at as a file system's, whatever it holds; and what was normalised or decrypted is not what a reader gets. */
static cl_error_t on_file(int fd, const char *type, const char **ancestors, size_t parent_size, const char *name, size_t size, const char *bytes,
			  uint32_t level, uint32_t attributes, void *ctx)
{
	struct clamav *c = ctx;
	unsigned same_size = 0;
	(void)fd, (void)ancestors, (void)parent_size, (void)name;
	if (!has_room(c))
		on_trouble("the temporary space is full");
	if (level >= ARRAY_LEN(c->mail))
		return CL_CLEAN;
	const bool in_mail = level == 0 || c->mail[level - 1];
	c->mail[level] = in_mail && attributes == LAYER_ATTRIBUTES_NONE && strcmp(type, "CL_TYPE_MAIL") == 0;
	if (level == 0 || !in_mail || attributes != LAYER_ATTRIBUTES_NONE || bytes == NULL)
		return CL_CLEAN;
	for (size_t i = 0; i < c->n_inner && same_size < SAME_SIZE_MAX; i++) {
		struct clamav_inner *f = &c->inner[i];
		if (f->met || f->data.n != size)
			continue;
		same_size++;
		if (memcmp(f->data.p, bytes, size) == 0) {
			f->met = true;
			break;
		}
	}
	return CL_CLEAN;
}

/* How many descriptors a layer takes at once is known, and how many layers there can be. */
static int room_open(struct clamav *c, struct err *e)
{
	struct rlimit r;
	c->tmp_fd = open(c->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->tmp_fd < 0)
		return err_set(e, ERR_TEMP, errno, "%s", c->tmp);
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && (rlim_t)c->tmp_fd + ROOM_DESCRIPTORS <= r.rlim_cur)
		return 0;
	close_fd(&c->tmp_fd);
	return err_set(e, ERR_TEMP, 0, "too few files can be opened for libclamav");
}

static int set_limits(struct clamav *c, const struct conf *conf, const char *tmp_dir, struct err *e)
{
	uint64_t message = conf->message_size_limit;
	c->room_bytes = message;
	const struct {
		enum cl_engine_field field;
		long long value;
	} nums[] = {
		{ CL_ENGINE_MAX_SCANSIZE, (long long)(message * 8) },
		{ CL_ENGINE_MAX_FILESIZE, (long long)(message * 4) },
		{ CL_ENGINE_MAX_RECURSION, SCAN_DEPTH_MAX },
		{ CL_ENGINE_MAX_FILES, SCAN_FILES_MAX },
		{ CL_ENGINE_MAX_SCANTIME, (long long)(conf->filter_timeout * 1000) },
		/* It would know what is clean by MD5 and size, of which anybody can make two files. */
		{ CL_ENGINE_DISABLE_CACHE, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(nums); i++) {
		cl_error_t r = cl_engine_set_num(c->engine, nums[i].field, nums[i].value);
		if (r != CL_SUCCESS)
			return err_set(e, ERR_CONF, 0, "libclamav limit %zu: %s", i, cl_strerror(r));
	}
	return clamav_use_tmp(c, tmp_dir, e);
}

int clamav_use_tmp(struct clamav *c, const char *dir, struct err *e)
{
	cl_error_t r = cl_engine_set_str(c->engine, CL_ENGINE_TMPDIR, dir);
	snprintf(c->tmp, sizeof(c->tmp), "%s", dir);
	return r == CL_SUCCESS ? 0 : err_set(e, ERR_CONF, 0, "libclamav temporary directory: %s", cl_strerror(r));
}

/* What the engine does with these signatures alone is left out, where they cannot find anything by it.
 * Two automata look at each byte, one for plain texts and one for texts with gaps, which can take both: with few signatures one pass is less. With 50,000 it is
 * more, and takes four times the memory.
 * All HTML is normalised once more for its links, which are then compared with lists. */
static int fit_to(struct clamav *c, const char *dir, const struct signatures *kinds, unsigned *load_out, struct err *e)
{
	unsigned n = 0;
	cl_error_t r = cl_countsigs(dir, CL_COUNTSIGS_ALL, &n);
	if (r == CL_SUCCESS && n <= FEW_SIGNATURES)
		r = cl_engine_set_num(c->engine, CL_ENGINE_AC_ONLY, 1);
	if (r != CL_SUCCESS)
		return err_set(e, ERR_CONF, 0, "signatures in %s: %s", dir, cl_strerror(r));
	*load_out = kinds->links ? CL_DB_STDOPT : CL_DB_STDOPT & ~(unsigned)CL_DB_PHISHING_URLS;
	return 0;
}

int clamav_load(const struct conf *conf, const char *shipped_dir, const char *tmp_dir, struct clamav **out, struct err *e)
{
	cl_error_t r = cl_init(CL_INIT_DEFAULT);
	if (r != CL_SUCCESS)
		return err_set(e, ERR_TEMP, 0, "libclamav: %s", cl_strerror(r));
	cl_set_clcb_msg(on_message);
	struct clamav *c = xzalloc(sizeof(*c));
	c->tmp_fd = -1;
	c->engine = cl_engine_new();
	const char *dir = conf->virus_database_directory;
	struct signatures kinds = signatures_in(dir);
	if (!kinds.any) {
		dir = shipped_dir;
		c->shipped = true;
		kinds = signatures_in(dir);
	}
	const uint64_t before = signatures_fingerprint(dir);
	unsigned load;
	if (c->engine == NULL || set_limits(c, conf, tmp_dir, e) < 0 || fit_to(c, dir, &kinds, &load, e) < 0)
		goto fail;
	errors = 0;
	r = cl_load(dir, c->engine, &c->signatures, load);
	if (r == CL_SUCCESS)
		r = cl_engine_compile(c->engine);
	cl_engine_set_clcb_file_inspection(c->engine, on_file);
	if (r != CL_SUCCESS) {
		err_set(e, ERR_CONF, 0, "signatures in %s: %s", dir, cl_strerror(r));
		goto fail;
	}
	if (c->signatures == 0) {
		err_set(e, ERR_CONF, 0, "%s holds no signatures", dir);
		goto fail;
	}
	/* Whoever changes them meanwhile may have brought others. */
	c->wants_mail = !plain_knows(clamav_version()) || kinds.mail || before == 0 || signatures_fingerprint(dir) != before;
	if (clamav_canary(c, e) < 0)
		goto fail;
	*out = c;
	return 0;
fail:
	clamav_free(&c);
	return -1;
}

void clamav_free(struct clamav **c)
{
	if (*c == NULL)
		return;
	if ((*c)->engine != NULL)
		cl_engine_free((*c)->engine);
	free(*c);
	*c = NULL;
}

uint64_t clamav_signatures(const struct clamav *c)
{
	return c->signatures;
}

bool clamav_shipped(const struct clamav *c)
{
	return c->shipped;
}

bool clamav_wants_mail(const struct clamav *c)
{
	return c->wants_mail;
}

uint64_t clamav_scanned(const struct clamav *c)
{
	return c->scanned * CL_COUNT_PRECISION;
}

void clamav_begin(struct clamav *c)
{
	c->damaged = false;
}

const char *clamav_damage(const struct clamav *c)
{
	return c->damaged ? error_text : NULL;
}

uint64_t clamav_scans(const struct clamav *c)
{
	return c->scans;
}

const char *clamav_version(void)
{
	return cl_retver();
}

static struct cl_scan_options options(bool mail)
{
	return (struct cl_scan_options){
		.general = CL_SCAN_GENERAL_HEURISTICS,
		.parse = CL_SCAN_PARSE_ARCHIVE | CL_SCAN_PARSE_ELF | CL_SCAN_PARSE_PDF | CL_SCAN_PARSE_SWF | CL_SCAN_PARSE_HWP3 |
			 CL_SCAN_PARSE_XMLDOCS | CL_SCAN_PARSE_OLE2 | CL_SCAN_PARSE_HTML | CL_SCAN_PARSE_PE | CL_SCAN_PARSE_ONENOTE |
			 (mail ? CL_SCAN_PARSE_MAIL : 0u),
		.heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX,
	};
}

/* What the library's answer means for us. */
static int judge(struct clamav *c, cl_error_t r, const char *virus, const char **name_out, struct err *e)
{
	if (r == CL_VIRUS) {
		*name_out = virus == NULL ? "unnamed" : virus;
		return 1;
	}
	if (r != CL_CLEAN)
		return err_set(e, ERR_TEMP, 0, "libclamav: %s", cl_strerror(r));
	if (errors > 0)
		return err_set(e, ERR_TEMP, 0, "libclamav reported: %s", error_text);
	c->damaged |= damages > 0;
	return 0;
}

static int scan(struct clamav *c, struct str data, bool mail, struct clamav_inner *inner, size_t n, const char **name_out, struct err *e)
{
	if (data.n == 0)
		return 0;
	struct cl_scan_options o = options(mail);
	const char *virus = NULL;
	unsigned long scanned = 0;
	errors = damages = 0;
	if (room_open(c, e) < 0)
		return -1;
	cl_fmap_t *map = cl_fmap_open_memory(data.p, data.n);
	if (map == NULL) {
		close_fd(&c->tmp_fd);
		return err_set(e, ERR_TEMP, 0, "libclamav: no map");
	}
	c->inner = inner;
	c->n_inner = n;
	cl_error_t r = cl_scanmap_callback(map, NULL, &virus, &scanned, c->engine, &o, c);
	c->n_inner = 0;
	close_fd(&c->tmp_fd);
	c->scanned += scanned;
	c->scans++;
	/* It may have given up within. */
	for (size_t i = 0; i < n && damages > 0; i++)
		inner[i].met = false;
	int judged = judge(c, r, virus, name_out, e);
	cl_fmap_close(map);
	return judged;
}

int clamav_scan_mem(struct clamav *c, struct str data, const char **name_out, struct err *e)
{
	return scan(c, data, true, NULL, 0, name_out, e);
}

int clamav_scan_plain(struct clamav *c, struct str data, const char **name_out, struct err *e)
{
	return scan(c, data, false, NULL, 0, name_out, e);
}

int clamav_scan_outer(struct clamav *c, struct str data, struct clamav_inner *inner, size_t n, const char **name_out, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		inner[i].met = false;
	return scan(c, data, true, inner, n, name_out, e);
}

/* --- the canary --- */

static uint32_t crc32_zip(const unsigned char *p, size_t n)
{
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
	}
	return ~crc;
}

static void le(struct buf *b, uint32_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		buf_ch(b, (char)(v >> (8 * i)));
}

/* A zip with one stored member. The test file's text is kept shifted by one, so that scanners of this program do not find it. */
static void canary_zip(struct buf *zip)
{
	static const char shifted[] = "Y6P\"Q&ABQ\\5]Q[Y65)Q_*8DD*8~%FJDBS.TUBOEBSE.BOUJWJSVT.UFTU.GJMF\"%I,I+";
	char text[sizeof(shifted)];
	size_t n = sizeof(shifted) - 1;
	for (size_t i = 0; i < n; i++)
		text[i] = (char)(shifted[i] - 1);
	uint32_t crc = crc32_zip((const unsigned char *)text, n);
	for (int central = 0; central < 2; central++) {
		uint32_t at = (uint32_t)zip->n;
		buf_mem(zip, central ? "PK\1\2" : "PK\3\4", 4);
		if (central)
			le(zip, 10, 2);
		le(zip, 10, 2);		/* version needed */
		le(zip, 0, 2);
		le(zip, 0, 2);		/* stored */
		le(zip, 0, 4);		/* time */
		le(zip, crc, 4);
		le(zip, (uint32_t)n, 4);
		le(zip, (uint32_t)n, 4);
		le(zip, 1, 2);		/* name length */
		le(zip, 0, 2);
		if (central) {
			le(zip, 0, 2);
			le(zip, 0, 2);
			le(zip, 0, 2);
			le(zip, 0, 4);
			le(zip, 0, 4);	/* the member's offset */
		}
		buf_c(zip, "c");
		if (!central) {
			buf_mem(zip, text, n);
			continue;
		}
		uint32_t size = (uint32_t)zip->n - at;
		buf_mem(zip, "PK\5\6", 4);
		le(zip, 0, 4);
		le(zip, 1, 2);
		le(zip, 1, 2);
		le(zip, size, 4);
		le(zip, at, 4);
		le(zip, 0, 2);
	}
}

int clamav_canary(struct clamav *c, struct err *e)
{
	struct buf zip;
	buf_init(&zip, 4096);
	canary_zip(&zip);
	const char *name = NULL;
	int r = clamav_scan_mem(c, buf_view(&zip), &name, e);
	buf_fini(&zip);
	if (r < 0)
		return err_wrap(e, "canary");
	return r == 1 ? 0 : err_set(e, ERR_TEMP, 0, "the canary was not found: signatures or unpacking do not work");
}
