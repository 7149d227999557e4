/* isovae: the command. Finds the subcommand, runs it, and turns what it came to into one line and
 * an exit code. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static isovae_status unknown_command(const char *word, isovae_error *err)
{
    const char *names[32];
    size_t n = 0;
    for (size_t i = 0; i < cli_n_commands && n < 30; i++) names[n++] = cli_commands[i].name;
    names[n++] = "help";
    names[n++] = "version";
    const char *nearest = cli_nearest(word, names, n);
    if (nearest != NULL) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "there is no command '%s'; did you mean '%s'?",
                       word, nearest);
    }
    return iv_fail(err, ISOVAE_ERR_ARGUMENT, "there is no command '%s'; 'isovae help' lists them",
                   word);
}

/* isovae help [COMMAND], and the generators behind it, which are for the build. */
static isovae_status run_help(int argc, char **argv, isovae_error *err)
{
    iv_text text = {0};
    isovae_status status = ISOVAE_OK;
    const char *word = argc > 0 ? argv[0] : NULL;
    const cli_command *command = NULL;
    if (word == NULL) {
        cli_help_overview(&text);
    } else if (strcmp(word, "--man") == 0) {
        const char *page = argc > 1 ? argv[1] : "isovae";
        if (strncmp(page, "isovae-", 7) == 0) page += 7;
        command = cli_find_command(page);
        if (command == NULL && strcmp(page, "isovae") != 0) {
            status = unknown_command(page, err);
        } else {
            cli_help_man(&text, command);
        }
    } else if (strcmp(word, "--bash") == 0) {
        cli_help_bash(&text);
    } else if (strcmp(word, "--defaults") == 0) {
        cli_help_defaults(&text);
    } else if ((command = cli_find_command(word)) != NULL) {
        cli_help_command(&text, command, cli_width(stdout));
    } else {
        status = unknown_command(word, err);
    }
    if (status == ISOVAE_OK) status = cli_print(&text, err);
    iv_text_free(&text);
    return status;
}

static isovae_status run_command(cli *c, int argc, char **argv, isovae_error *err)
{
    IV_TRY(
        cli_parse(c->command->bit, argc - 1, argv + 1, c->opt, c->argument, &c->n_arguments, err));
    c->quiet = c->opt[OPT_QUIET].set;
    c->verbose = c->opt[OPT_VERBOSE].set;
    if (c->opt[OPT_HELP].set) {
        iv_text text = {0};
        cli_help_command(&text, c->command, cli_width(stdout));
        isovae_status status = cli_print(&text, err);
        iv_text_free(&text);
        return status;
    }
    if (c->n_arguments < c->command->least) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "wants: isovae %s %s", c->command->name,
                       c->command->arguments);
    }
    if (c->n_arguments > c->command->most) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT,
                       "'%s' is one argument too many; wants: isovae %s %s",
                       c->argument[c->command->most], c->command->name, c->command->arguments);
    }
    cli_catch_interrupt();
    return c->command->run(c, err);
}

static isovae_status dispatch(cli *c, int argc, char **argv, isovae_error *err)
{
    const char *word = argv[1];
    if (strcmp(word, "help") == 0) return run_help(argc - 2, argv + 2, err);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return run_help(0, NULL, err);
    if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        iv_text text = {0};
        iv_text_printf(&text, "isovae %s\n", isovae_version());
        isovae_status status = cli_print(&text, err);
        iv_text_free(&text);
        return status;
    }
    c->command = cli_find_command(word);
    if (c->command == NULL) return unknown_command(word, err);
    return run_command(c, argc, argv, err);
}

int main(int argc, char **argv)
{
    cli c;
    isovae_error err;
    memset(&c, 0, sizeof c);
    memset(&err, 0, sizeof err);

    if (argc < 2) {
        iv_text text = {0};
        cli_help_overview(&text);
        if (text.data != NULL) fputs(text.data, stderr);
        iv_text_free(&text);
        return CLI_EXIT_USAGE;
    }
    isovae_status status = cli_start(&c, argc, argv, &err);
    if (status == ISOVAE_OK) status = dispatch(&c, argc, argv, &err);
    cli_bar_clear(&c);
    if (status == ISOVAE_OK) cli_tell_held(&c);
    if (status == ISOVAE_OK) {
        status = cli_close_output(&err);
    } else {
        isovae_error ignored;
        (void)!cli_close_output(&ignored);
    }
    if (status != ISOVAE_OK) {
        cli_complain(&c, err.message[0] != '\0' ? err.message : isovae_status_name(status));
    }
    iv_pool_free(c.pool);
    cli_values_free(c.opt, c.argument);
    iv_free(c.typed);
    iv_text_free(&c.held);
    return status == ISOVAE_OK && c.answer_is_no ? CLI_EXIT_NO : cli_exit_code(status);
}
