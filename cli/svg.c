/* SPDX-License-Identifier: MIT */
/* svg.c - the file, shapes, text and the legend of a drawing; see svg.h. */
#include "svg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define CHAR_WIDTH 0.61 /* of the font size; DejaVu Sans Mono has 0.602 */
#define LEGEND_SIZE 12.0
#define LEGEND_ROW 20.0
#define SWATCH 14.0

static const struct {
	const char *class;
	const char *name;
} fills[SVG_NFILLS] = {
    [SVG_NONE] = {"none", "no memory"},
    [SVG_RAM] = {"ram", "RAM"},
    [SVG_ROM] = {"rom", "read-only"},
    [SVG_LOGGED] = {"log", "logged (dirty pages)"},
    [SVG_LOGGED_ROM] = {"logrom", "read-only and logged"},
    [SVG_SHARED] = {"shared", "alias: host memory shown twice"},
    [SVG_GAP] = {"gap", "no slot (axis cut short)"},
    [SVG_HOLE] = {"hole", "hole: RAM before and after the group, missing now"},
};

static const char style[] =
    "<style>\n"
    "text{font-family:'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace}\n"
    ".page{fill:#fff}.ink{fill:#222}.dim{fill:#666}.bold{fill:#111;font-weight:bold}\n"
    ".red{fill:#b50f1c;font-weight:bold}.green{fill:#17703a;font-weight:bold}\n"
    ".none{fill:#f1f1f1}.ram{fill:#8db8e0}.rom{fill:#f2c14e}.log{fill:#7ecb96}\n"
    ".logrom{fill:#b9a04a}.shared{fill:url(#stripes)}.gap{fill:url(#dots)}.hole{fill:#e0182a}\n"
    ".edge{stroke:#fff;stroke-width:.8}.line{stroke:#999;stroke-width:.8;fill:none}\n"
    ".rim{stroke:#444;stroke-width:1;fill:none}\n"
    ".dash{stroke:#999;stroke-width:1;stroke-dasharray:2 3;fill:none}\n"
    "</style>\n"
    "<defs>\n"
    "<pattern id=\"stripes\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
    "patternTransform=\"rotate(45)\"><rect width=\"2.6\" height=\"7\" fill=\"#6a2c91\"/>"
    "</pattern>\n"
    "<pattern id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"6\" height=\"6\" fill=\"#fff\"/><circle cx=\"3\" cy=\"3\" r=\".7\" "
    "fill=\"#bbb\"/></pattern>\n"
    "</defs>\n";

int svg_try(const char *verb, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	struct stat st;

	if (fd >= 0) {
		close(fd);
		unlink(path);
		return 0;
	}
	/* A link to nowhere exists, and can be written through perhaps: the end will tell. */
	if (errno == EEXIST && stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode) && access(path, W_OK) == 0)
			return 0;
		errno = S_ISDIR(st.st_mode) ? EISDIR : errno;
	} else if (errno == ENOENT && lstat(path, &st) == 0) {
		return 0;
	}
	cli_error(verb, "%s: cannot write: %s", path, strerror(errno));
	return -1;
}

int svg_open(struct svg *s, const char *verb, const char *path)
{
	*s = (struct svg){.to = fopen(path, "we"), .verb = verb, .path = path};
	if (s->to != NULL)
		return 0;
	cli_error(verb, "%s: cannot write: %s", path, strerror(errno));
	return -1;
}

int svg_close(struct svg *s)
{
	bool bad;

	fputs("</svg>\n", s->to);
	bad = ferror(s->to) != 0;
	if (fclose(s->to) == 0 && !bad)
		return 0;
	cli_error(s->verb, "%s: cannot write: %s", s->path, strerror(errno));
	return -1;
}

/* What XML gives a meaning is named; what no font has for sure becomes '?'. */
static void put_escaped(FILE *to, const char *text)
{
	for (; *text != '\0'; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '<' || c == '>' || c == '&' || c == '"')
			fprintf(to, "&#%u;", (unsigned int)c);
		else
			fputc(c < 0x20 || c >= 0x7f ? '?' : c, to);
	}
}

void svg_begin(struct svg *s, double width, double height, const char *title)
{
	width = (double)(uint64_t)(width + 1);
	height = (double)(uint64_t)(height + 1);
	fprintf(s->to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\">\n<title>",
		width, height, width, height);
	put_escaped(s->to, title);
	fprintf(s->to, "</title>\n%s", style);
	svg_rect(s, (const double[]){0, 0, width, height}, "page");
}

void svg_number(struct svg *s, double val)
{
	char text[40];
	size_t len = (size_t)snprintf(text, sizeof(text), "%.2f", val);

	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	fwrite(text, 1, len, s->to);
}

static void put_attribute(struct svg *s, const char *name, double val)
{
	fprintf(s->to, " %s=\"", name);
	svg_number(s, val);
	fputc('"', s->to);
}

void svg_rect(struct svg *s, const double box[4], const char *class)
{
	static const char *const name[] = {"x", "y", "width", "height"};

	fputs("<rect", s->to);
	for (size_t i = 0; i < 4; i++)
		put_attribute(s, name[i], box[i]);
	fprintf(s->to, " class=\"%s\"/>\n", class);
}

void svg_line(struct svg *s, const double from[2], const double to[2], const char *class)
{
	fputs("<line", s->to);
	put_attribute(s, "x1", from[0]);
	put_attribute(s, "y1", from[1]);
	put_attribute(s, "x2", to[0]);
	put_attribute(s, "y2", to[1]);
	fprintf(s->to, " class=\"%s\"/>\n", class);
}

void svg_text(struct svg *s, double x, double y, const struct svg_font *font, const char *fmt, ...)
{
	static const char *const anchor[] = {"start", "middle", "end"};
	char text[SVG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fputs("<text", s->to);
	put_attribute(s, "x", x);
	put_attribute(s, "y", y);
	put_attribute(s, "font-size", font->size);
	fprintf(s->to, " text-anchor=\"%s\" class=\"%s\" xml:space=\"preserve\">",
		anchor[font->anchor], font->class);
	put_escaped(s->to, text);
	fputs("</text>\n", s->to);
}

double svg_text_width(double size, size_t nchars)
{
	return CHAR_WIDTH * size * (double)nchars;
}

const char *svg_fill_class(enum svg_fill fill)
{
	return fills[fill].class;
}

double svg_legend(struct svg *s, const double at[2], double width, unsigned int used)
{
	const struct svg_font font = {LEGEND_SIZE, SVG_START, "ink"};
	double x = 0, y = 0;

	for (size_t f = 0; f < SVG_NFILLS; f++) {
		const double need = SWATCH + 6 + svg_text_width(LEGEND_SIZE, strlen(fills[f].name));

		if ((used & 1u << f) == 0)
			continue;
		if (x > 0 && x + need > width) {
			x = 0;
			y += LEGEND_ROW;
		}
		if (s != NULL) {
			const double box[] = {at[0] + x, at[1] + y, SWATCH, SWATCH};

			if (f == SVG_SHARED)
				svg_rect(s, box, fills[SVG_RAM].class);
			svg_rect(s, box, fills[f].class);
			svg_rect(s, box, "line");
			svg_text(s, at[0] + x + SWATCH + 6, at[1] + y + 11.5, &font, "%s",
				 fills[f].name);
		}
		x += need + 22;
	}
	return y + LEGEND_ROW;
}

/* ---- Numbers in words ------------------------------------------------------- */

static const char *const unit_name[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

/* The largest unit of which it is a whole multiple; the multiple, too. */
static unsigned int exact_unit(uint64_t n, uint64_t *multiple)
{
	unsigned int unit = 0;

	while (n > 0 && n % 1024 == 0 && unit < 6) {
		n /= 1024;
		unit++;
	}
	*multiple = n;
	return unit;
}

const char *svg_bytes(char text[SVG_BYTES_MAX], uint64_t len_bytes)
{
	uint64_t n;
	unsigned int unit = exact_unit(len_bytes, &n);

	if (n < 10000) {
		snprintf(text, SVG_BYTES_MAX, "%" PRIu64 " %s", n, unit_name[unit]);
		return text;
	}
	for (unit = 0; unit < 6 && len_bytes >> (10 * (unit + 1)) > 0;)
		unit++;
	/* Cut, not rounded: what is a page short of 2 GiB is not 2.00 GiB. */
	n = len_bytes >> (10 * (unit - 1));
	snprintf(text, SVG_BYTES_MAX, "%" PRIu64 ".%02" PRIu64 " %s", n / 1024,
		 n % 1024 * 100 / 1024, unit_name[unit]);
	return text;
}

const char *svg_address(char text[SVG_BYTES_MAX], uint64_t addr)
{
	uint64_t n;
	const unsigned int unit = exact_unit(addr, &n);

	if (n < 1024)
		snprintf(text, SVG_BYTES_MAX, "%" PRIu64 "%s%s", n, n > 0 ? " " : "",
			 n > 0 ? unit_name[unit] : "");
	else
		snprintf(text, SVG_BYTES_MAX, "0x%" PRIx64, addr);
	return text;
}

const char *svg_count(char text[32], uint64_t n)
{
	char digits[24];
	const int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *out = text;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return text;
}
